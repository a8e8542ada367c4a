//! Short values as people and definitions write them: one form each, bounds, and no way to say "unlimited".

use std::{fmt::Debug, fmt::Display, str::FromStr, time::Duration};

use lazarus::{
    agent::{Digest, LIMIT_NAMES, set_limit},
    audit::Head,
    cell::{AgentName, CellId, Identity, NAME_MOST_BYTES, ProjectName, parse_team},
    mail::{MessageId, Secret, Token},
    policy::{ByteSize, Limits, Mount, format_duration, parse_duration, parse_ttl},
};

use crate::harmless::{check_line, check_refusal};

/// Reads a text as each kind of value.
pub fn value(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    names(&text);
    quantities(&text);
    if let Some(mount) = refused_or::<Mount>(&text) {
        let written = format!("{}:{}:{}", mount.host.display(), mount.guest, mount.access);
        assert_eq!(written.parse(), Ok(mount.clone()));
        assert!(mount.guest.as_str().starts_with('/') && mount.guest.as_str().len() <= 1024);
        assert!(!mount.guest.as_str().split('/').any(|part| part == ".." || part == "."));
        check_line(&mount.guest.to_string(), false);
    }
    if let Some(head) = refused_or::<Head>(&text) {
        assert_eq!(head.to_string().parse(), Ok(head));
    }
    if let Some(digest) = Digest::parse(&text) {
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
    }
}

/// A value, or a refusal that can be shown.
fn refused_or<T: FromStr<Err: Display>>(text: &str) -> Option<T> {
    text.parse().map_err(|error: T::Err| check_refusal(&error.to_string())).ok()
}

/// A value that has exactly one text.
fn one_form<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value = refused_or::<T>(text)?;
    assert_eq!(value.to_string(), text, "{value:?}");
    Some(value)
}

fn names(text: &str) {
    // A name becomes a part of paths: nothing that a path would be split at, or that leads up, or that hides.
    let part = |name: &str| {
        assert!((1..=NAME_MOST_BYTES).contains(&name.len()));
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && !name.starts_with(['.', '-']));
    };
    if let Some(name) = one_form::<AgentName>(text) {
        part(name.as_str());
    }
    if let Some(name) = one_form::<ProjectName>(text) {
        part(name.as_str());
    }
    if let Some(identity) = one_form::<Identity>(text) {
        part(text.split_once(':').expect("a kind and a name").1);
        assert_eq!(identity.startable().is_none(), text.starts_with("human:"));
    }
    if let Some(id) = one_form::<CellId>(text) {
        part(id.as_str());
    }
    if let Some(id) = one_form::<MessageId>(text) {
        part(id.as_str());
    }
    if let Some(token) = one_form::<Token>(text) {
        assert!(!format!("{token:?}").contains(token.secret.as_str()));
    }
    if let Ok(secret) = text.parse::<Secret>() {
        assert!(secret.as_str() == text && text.len() == 64);
    }
    match parse_team(text) {
        Ok(team) => {
            assert_eq!(team.iter().map(AgentName::as_str).collect::<Vec<_>>().join("+"), text);
            assert!(team.iter().enumerate().all(|(at, name)| !team[..at].contains(name)), "nobody is there twice");
        }
        Err(error) => check_refusal(&error.to_string()),
    }
}

fn quantities(text: &str) {
    if let Some(size) = refused_or::<ByteSize>(text) {
        assert!((1..=i64::MAX as u64).contains(&size.bytes()));
        assert_eq!(size.to_string().parse(), Ok(size));
    }
    for parse in [parse_duration, parse_ttl] {
        match parse(text) {
            Ok(duration) => {
                // Ten years and a little: sums with the clock are far from overflowing.
                assert!(duration <= Duration::from_secs(11 * 366 * 86_400));
                check_refusal(&format_duration(duration));
                assert_eq!(parse_duration(&format!("{}ms", duration.as_millis())), Ok(duration));
            }
            Err(error) => check_refusal(&error.to_string()),
        }
    }
    assert!(parse_ttl(text).is_ok_and(|ttl| ttl.is_zero()) == false, "zero is no time to live");
    for name in LIMIT_NAMES {
        let mut limits = Limits::default();
        match set_limit(&mut limits, name, text) {
            Ok(()) => {
                let json = serde_json::to_vec(&limits).expect("limits have a form");
                assert_eq!(serde_json::from_slice::<Limits>(&json).expect("limits of ours"), limits);
                assert!(![limits.cpu, limits.event, limits.idle].iter().any(Duration::is_zero), "zero is no limit");
            }
            Err(error) => {
                check_refusal(&error.to_string());
                assert_eq!(limits, Limits::default(), "a refusal changes nothing");
            }
        }
    }
    if let Err(error) = set_limit(&mut Limits::default(), text, "1") {
        check_refusal(&error.to_string());
    }
}
