//! Agent definitions: all of one is understood, and nothing in it is unlimited, or means something else when it is written again.

use std::path::Path;

use lazarus::{
    agent::{DefinedProgram, Definition, LIMIT_NAMES, unfit},
    cell::BackendKind,
    policy::{GuestPath, validate_variable},
};

use crate::harmless::check_refusal;

/// Parses a definition; one that is accepted keeps its bounds, and comes back the same from its own text.
pub fn definition(data: &[u8]) {
    let definition = match Definition::parse("agent.toml", data) {
        Ok(definition) => definition,
        Err(refused) => {
            check_refusal(&refused.to_string());
            let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&refused.line) && refused.column >= 1, "{refused:?}");
            return;
        }
    };
    check(&definition);
    let text = written(&definition);
    match Definition::parse("agent.toml", text.as_bytes()) {
        // Where each key stands is another matter.
        Ok(again) => assert_eq!(Definition { places: definition.places.clone(), ..again }, definition, "{text}"),
        Err(refused) => panic!("{refused}\n{text}"),
    }
}

fn check(definition: &Definition) {
    let plain = |path: &Path| path.to_str().is_some_and(|text| !text.is_empty() && !text.chars().any(char::is_control));
    match &definition.program {
        DefinedProgram::Component { path, args, .. } => assert!(plain(path) && args.len() <= 256 && definition.read.is_empty()),
        DefinedProgram::Command { argv } => assert!(!argv[0].is_empty() && argv.len() <= 256),
        DefinedProgram::Keeper => {}
    }
    assert!(definition.template.as_deref().is_none_or(plain));
    assert!(definition.env.iter().all(|(name, value)| validate_variable(name, value, false).is_ok()));
    assert!(definition.env.len() <= 256 && definition.read.len() <= 256 && definition.mounts.len() <= 256);
    for path in &definition.read {
        let text = path.to_str().expect("UTF-8, as the definition is");
        assert!(text.starts_with('/') && text != "/" && !text.split('/').any(|part| part == ".."), "{text}");
    }
    for mount in &definition.mounts {
        assert!(plain(&mount.host));
        assert!(!mount.guest.as_str().split('/').any(|part| part == ".." || part == "."));
        assert_eq!(GuestPath::try_from(mount.guest.as_str().to_owned()), Ok(mount.guest.clone()));
    }
    assert!(definition.limits.check().is_ok());
    let limits = &definition.limits;
    assert!(![limits.cpu, limits.event, limits.idle].iter().any(std::time::Duration::is_zero), "zero is no limit");
    assert!(definition.life.ttl.is_none_or(|ttl| !ttl.is_zero()));
    assert!(definition.life.tick.is_none_or(|tick| tick.as_secs() >= 1));
}

/// Text as TOML: JSON's escapes are TOML's, but for the one character that JSON leaves as it is.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text").replace('\u{7f}', "\\u007f")
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", items.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8, as the definition is")
}

/// A definition as TOML, every limit that it may name written out.
fn written(definition: &Definition) -> String {
    let mut lines = vec!["[agent]".to_owned(), format!("name = {}", quoted(definition.name.as_str()))];
    match &definition.program {
        DefinedProgram::Component { path: component, args, sha256 } => {
            lines.push(format!("component = {}", quoted(path(component))));
            lines.push(format!("args = {}", list(args.iter().map(String::as_str))));
            lines.extend(sha256.map(|digest| format!("sha256 = \"{digest}\"")));
        }
        DefinedProgram::Command { argv } => lines.push(format!("command = {}", list(argv.iter().map(String::as_str)))),
        DefinedProgram::Keeper => {}
    }
    lines.extend(definition.template.as_deref().map(|template| format!("template = {}", quoted(path(template)))));

    lines.push("[grants]".to_owned());
    if definition.client {
        lines.push("client = true".to_owned());
    }
    if !definition.read.is_empty() {
        lines.push(format!("read = {}", list(definition.read.iter().map(|read| path(read)))));
    }
    let mounts = definition.mounts.iter().map(|mount| {
        let (host, guest) = (quoted(path(&mount.host)), quoted(mount.guest.as_str()));
        format!("{{ host = {host}, guest = {guest}, access = \"{}\" }}", mount.access)
    });
    lines.push(format!("mounts = [{}]", mounts.collect::<Vec<_>>().join(", ")));
    lines.push("[grants.env]".to_owned());
    lines.extend(definition.env.iter().map(|(name, value)| format!("{name} = {}", quoted(value))));

    lines.push("[limits]".to_owned());
    let values = serde_json::to_value(&definition.limits).expect("limits");
    let backend = match definition.program {
        DefinedProgram::Component { .. } => Some(BackendKind::Wasm),
        DefinedProgram::Command { .. } => Some(BackendKind::Process),
        DefinedProgram::Keeper => None,
    };
    for name in LIMIT_NAMES {
        if backend.is_some_and(|backend| unfit(name, backend).is_some()) {
            continue;
        }
        let value = &values[name.replace('-', "_")];
        let milliseconds = |part: &str, a_second: u64| value[part].as_u64().map_or(0, |count| count * 1000 / a_second);
        let written = if value.is_object() {
            format!("\"{}ms\"", milliseconds("secs", 1) + milliseconds("nanos", 1_000_000_000))
        } else {
            value.to_string()
        };
        lines.push(format!("{name} = {written}"));
    }
    lines.push("[life]".to_owned());
    lines.extend(definition.life.ttl.map(|ttl| format!("ttl = \"{}ms\"", ttl.as_millis())));
    lines.extend(definition.life.on_expire.map(|on_expire| format!("on-expire = \"{}\"", on_expire.as_str())));
    lines.extend(definition.life.tick.map(|tick| format!("tick = \"{}ms\"", tick.as_millis())));
    lines.join("\n")
}
