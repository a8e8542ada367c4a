//! What is wider, what is narrower, and that nothing wider passes: by example and by generation.

use proptest::prelude::*;

use super::*;
use crate::agent::{LIMIT_NAMES, set_limit};

const SCRIBE: &str = r#"
[agent]
name = "scribe"
command = ["scribe", "--quiet"]
[grants]
env = { MODE = "quiet" }
read = ["/opt/scribe", "/usr"]
mounts = [{ host = "/srv/project", guest = "/project" }, { host = "/srv/out", guest = "/out", access = "rw" }]
[limits]
memory = "64MiB"
cpu = "5s"
[life]
ttl = "30m"
on-expire = "close"
"#;
const TICKER: &str = "[agent]\nname = \"ticker\"\ncomponent = \"ticker.wasm\"\n[life]\ntick = \"1m\"\n";

fn terms(text: &str) -> Terms {
    let definition = Definition::parse("agent.toml", text.as_bytes()).expect("a definition");
    Terms { definition: digest_of(text.as_bytes()), component: None, template: None, grants: Grants::of(&definition) }
}

/// The differences of one change of the text, but for the text's own digest.
fn change(from: &str, to: &str) -> Vec<(String, bool)> {
    let text = if TICKER.contains(from) { TICKER } else { SCRIBE };
    assert!(text.contains(from), "{from}");
    let found = differences(&terms(text), &terms(&text.replace(from, to)));
    let own = found.iter().filter(|difference| difference.line.starts_with("definition sha256 "));
    assert_eq!(own.count(), 1, "{found:?}");
    found.into_iter().skip(1).map(|Difference { line, widens }| (line, widens)).collect()
}

#[test]
fn each_change_says_what_it_is_and_whether_it_asks_for_more() {
    let cases: [(&str, &str, &str, bool); 25] = [
        ("\"--quiet\"", "\"--loud\"", r#"program "scribe" "--quiet" → "scribe" "--loud""#, true),
        ("MODE = \"quiet\"", "MODE = \"loud\"", "env MODE has another value", true),
        ("MODE = \"quiet\"", "MODE = \"quiet\", EXTRA = \"\"", "+ env EXTRA", true),
        ("MODE = \"quiet\"", "", "- env MODE", false),
        ("\"/usr\"", "\"/usr\", \"/srv\"", "+ read /srv", true),
        ("\"/usr\"", "\"/usr\", \"/usr/lib\"", "+ read /usr/lib", false),
        (", \"/usr\"", "", "- read /usr", false),
        ("/srv/project\", guest", "/srv/other\", guest", "mount /srv/project at /project (ro) → /srv/other at /project (ro)", true),
        (
            "guest = \"/project\"",
            "guest = \"/project\", access = \"rw\"",
            "mount /srv/project at /project (ro) → /srv/project at /project (rw)",
            true,
        ),
        ("access = \"rw\"", "access = \"ro\"", "mount /srv/out at /out (rw) → /srv/out at /out (ro)", false),
        ("mounts = [", "mounts = [{ host = \"/x\", guest = \"/y\", access = \"rw\" }, ", "+ mount /x at /y (rw)", true),
        (", { host = \"/srv/out\", guest = \"/out\", access = \"rw\" }", "", "- mount /srv/out at /out (rw)", false),
        ("[limits]", "client = true\n[limits]", "+ client", true),
        ("64MiB", "2GiB", "limit memory 64 MiB → 2 GiB", true),
        ("64MiB", "1MiB", "limit memory 64 MiB → 1 MiB", false),
        ("cpu = \"5s\"", "cpu = \"5001ms\"", "limit cpu 5s → 5001ms", true),
        ("cpu = \"5s\"", "", "limit cpu 5s → 1h", true),
        ("ttl = \"30m\"", "ttl = \"31m\"", "life ttl 30m → 31m", true),
        ("ttl = \"30m\"", "ttl = \"29m\"", "life ttl 30m → 29m", false),
        ("ttl = \"30m\"", "", "life ttl 30m → unsaid", true),
        ("on-expire = \"close\"", "on-expire = \"keep\"", "life on-expire close → keep", true),
        ("on-expire = \"close\"", "on-expire = \"destroy\"", "life on-expire close → destroy", false),
        ("on-expire = \"close\"", "", "life on-expire close → unsaid", false),
        ("tick = \"1m\"", "tick = \"1s\"", "life tick 1m → 1s", true),
        ("tick = \"1m\"", "", "life tick 1m → unsaid", false),
    ];
    for (from, to, line, widens) in cases {
        assert_eq!(change(from, to), [(line.to_owned(), widens)], "{from} → {to}");
    }
    let all = change("read = [\"/opt/scribe\", \"/usr\"]", "");
    assert_eq!(all.iter().filter(|(_, widens)| *widens).count(), 1, "the system's own are more than two paths: {all:?}");
    assert_eq!(change("[limits]", "# a remark\n[limits]"), [], "but for the digest of the text");
}

#[test]
fn other_bytes_take_an_approval_whatever_they_ask_for() {
    let approved = terms(SCRIBE);
    let some = Some(Digest::new([7; 32]));
    for (what, asked) in
        [("component", Terms { component: some, ..approved.clone() }), ("template", Terms { template: some, ..approved.clone() })]
    {
        for (old, new) in [(&approved, &asked), (&asked, &approved)] {
            let found = differences(old, new);
            assert!(found.len() == 1 && found[0].widens && found[0].line.starts_with(&format!("{what} sha256 ")), "{found:?}");
        }
    }
}

#[test]
fn lines_are_harmless_and_bounded() {
    let long = "x".repeat(2000);
    let hostile = SCRIBE.replace("\"--quiet\"", &format!("\"\\u001b[2J\\u202e\\n{long}\""));
    for difference in differences(&terms(SCRIBE), &terms(&hostile)) {
        assert!(difference.line.len() <= LINE_MOST_BYTES && !difference.line.chars().any(char::is_control), "{difference:?}");
        assert!(!difference.line.contains('\u{202e}'), "{difference:?}");
    }
    assert!(all_of(&terms(&hostile)).iter().all(|line| line.len() <= LINE_MOST_BYTES));
}

#[test]
fn what_is_kept_comes_back_as_it_was() {
    let grants = terms(SCRIBE).grants;
    let json = serde_json::to_string(&grants).expect("json");
    assert_eq!(serde_json::from_str::<Grants>(&json).expect("grants"), grants);
    assert!(!json.contains("quiet\"}") && json.len() < GRANTS_MOST_BYTES, "no value of a variable is kept: {json}");
    assert!(serde_json::from_str::<Grants>(&json.replacen('{', "{\"http\":[],", 1)).is_err(), "what is not known is not approved");
}

/// Grants of any kind.
fn any_grants() -> impl Strategy<Value = Grants> {
    let name = "[A-C]{1,2}";
    let value = any::<u8>().prop_map(|seed| Digest::new([seed % 3; 32]));
    let path = prop::sample::select(vec!["/a", "/a/b", "/a/b/c", "/d", "/e/f"]);
    let mount = (path.clone(), path.clone(), any::<bool>()).prop_map(|(host, guest, rw)| Mount {
        host: host.into(),
        guest: guest.to_owned().try_into().expect("a path"),
        access: if rw { Access::Rw } else { Access::Ro },
    });
    let program = prop_oneof![
        prop::collection::vec("[a-z]{1,3}", 1..3).prop_map(|argv| GrantedProgram::Command { argv }),
        prop::collection::vec("[a-z]{1,3}", 0..3).prop_map(|args| GrantedProgram::Component { args }),
        Just(GrantedProgram::Keeper {}),
    ];
    let limits = prop::collection::vec(1_u32..100_000, LIMIT_NAMES.len()).prop_map(|values| {
        let mut limits = Limits::default();
        for (name, value) in LIMIT_NAMES.iter().zip(values) {
            let value = if ["cpu", "event", "idle"].contains(name) { format!("{value}ms") } else { value.to_string() };
            set_limit(&mut limits, name, &value).expect("in range");
        }
        limits
    });
    let time = || prop::option::of((1_u64..100_000).prop_map(Duration::from_secs));
    let on_expire = prop::option::of(prop::sample::select(vec![OnExpire::Close, OnExpire::Destroy, OnExpire::Keep]));
    let parts = (
        program,
        prop::collection::btree_map(name, value, 0..4),
        prop::collection::btree_set(path.prop_map(PathBuf::from), 0..4),
        prop::collection::vec(mount, 0..4),
        any::<bool>(),
    );
    (parts, limits, time(), on_expire, time()).prop_map(|((program, env, read, mut mounts, client), limits, ttl, on_expire, tick)| {
        mounts.sort_by(|a: &Mount, b: &Mount| a.guest.cmp(&b.guest));
        mounts.dedup_by(|a, b| a.guest == b.guest);
        Grants { program, env, template: None, read, mounts, client, limits, ttl, on_expire, tick }
    })
}

/// One thing more than there was. `which` and `amount` choose.
fn widened(mut grants: Grants, which: usize, amount: u32) -> Grants {
    let limits = LIMIT_NAMES.len();
    match which % (10 + limits) {
        0 => grants.env.insert(format!("NEW_{amount}"), Digest::new([0; 32])).map_or((), drop),
        1 => match grants.env.values_mut().next() {
            Some(value) => *value = Digest::new([9; 32]),
            None => grants.env.insert("NEW".into(), Digest::new([9; 32])).map_or((), drop),
        },
        2 => drop(grants.read.insert(format!("/new/{amount}").into())),
        3 => grants.mounts.push(Mount {
            host: "/new".into(),
            guest: format!("/new-{amount}").try_into().expect("a path"),
            access: Access::Ro,
        }),
        4 => match grants.mounts.iter_mut().find(|mount| mount.access == Access::Ro) {
            Some(mount) => mount.access = Access::Rw,
            None => grants.tick = Some(Duration::from_nanos(1)),
        },
        5 => match grants.mounts.first_mut() {
            Some(mount) => mount.host = format!("/elsewhere/{amount}").into(),
            None => drop(grants.read.insert("/elsewhere".into())),
        },
        6 if !grants.client => grants.client = true,
        7 => grants.ttl = Some(grants.ttl.unwrap_or(TTL_ASKED_UNSAID) + Duration::from_secs(u64::from(amount) + 1)),
        8 if grants.on_expire != Some(OnExpire::Keep) => grants.on_expire = Some(OnExpire::Keep),
        9 => grants.program = GrantedProgram::Command { argv: vec![format!("/new/{amount}")] },
        rest => {
            let name = LIMIT_NAMES[rest % limits];
            let value = if ["cpu", "event", "idle"].contains(&name) {
                format!("{}s", 1000 + amount % 1000)
            } else {
                format!("{}", 200_000 + amount)
            };
            set_limit(&mut grants.limits, name, &value).expect("in range");
        }
    }
    grants
}

fn asks_for_more(old: &Grants, new: &Grants) -> bool {
    between(old, new).iter().any(|difference| difference.widens)
}

proptest! {
    #[test]
    fn what_is_the_same_does_not_differ(grants in any_grants()) {
        prop_assert_eq!(between(&grants, &grants), vec![]);
        let json = serde_json::to_string(&grants).expect("json");
        prop_assert_eq!(serde_json::from_str::<Grants>(&json).expect("grants"), grants);
    }

    #[test]
    fn what_differs_is_told(old in any_grants(), new in any_grants()) {
        prop_assert_eq!(between(&old, &new).is_empty(), old == new);
    }

    #[test]
    fn any_single_widening_is_caught(grants in any_grants(), which in any::<usize>(), amount in 0_u32..100_000) {
        let wider = widened(grants.clone(), which, amount);
        prop_assert!(asks_for_more(&grants, &wider), "{:?}", between(&grants, &wider));
    }

    #[test]
    fn a_widening_among_many_narrowings_is_caught(grants in any_grants(), which in any::<usize>(), amount in 0_u32..100_000) {
        // Everything that can be left out is, and one thing is added.
        let narrow = Grants { env: BTreeMap::new(), mounts: Vec::new(), client: false, tick: None, ..grants.clone() };
        prop_assert!(!asks_for_more(&grants, &narrow), "{:?}", between(&grants, &narrow));
        let which = match which % 4 { 0 => 0, 1 => 2, 2 => 3, _ => 9 };
        prop_assert!(asks_for_more(&grants, &widened(narrow, which, amount)));
    }

    #[test]
    fn narrower_than_narrower_is_narrower(a in any_grants(), b in any_grants(), c in any_grants()) {
        if !asks_for_more(&a, &b) && !asks_for_more(&b, &c) {
            prop_assert!(!asks_for_more(&a, &c), "{:?}", between(&a, &c));
        }
    }
}
