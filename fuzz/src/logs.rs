//! What an agent writes to its streams, as it stands in its log.

use std::{cell::OnceCell, sync::Arc};

use cap_std::{ambient_authority, fs::Dir};
use lazarus::{
    policy::ByteSize,
    warden::by_hand::{Log, Stream},
};

use crate::harmless::check_line;

/// Bytes of both files together: small, so that they are changed often.
const MOST_BYTES: u64 = 16 * 1024;

thread_local! {
    static PLACE: OnceCell<(tempfile::TempDir, Arc<Dir>)> = const { OnceCell::new() };
}

/// Writes bytes to a log: what stands before the first zero byte to standard output, what follows to standard error, and so on.
pub fn log(data: &[u8]) {
    PLACE.with(|place| {
        let (_, dir) = place.get_or_init(|| {
            let place = tempfile::tempdir().expect("a directory for a while");
            let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("it was just made");
            (place, Arc::new(dir))
        });
        let agent = "a".parse().expect("a name");
        let mut log = Log::new(Arc::clone(dir), &agent, ByteSize::new(MOST_BYTES).expect("not zero"));
        for (at, piece) in data.split(|byte| *byte == 0).enumerate() {
            log.push(if at % 2 == 0 { Stream::Out } else { Stream::Err }, piece);
        }
        check_line(&log.last_words(), true);
        log.finish();
        let mut bytes = 0;
        for name in ["a.log.1", "a.log"] {
            let Ok(text) = dir.read_to_string(name) else { continue };
            bytes += text.len() as u64;
            assert!(text.is_empty() || text.ends_with('\n'), "a line has its end");
            text.lines().for_each(check_entry);
            dir.remove_file(name).expect("it is there");
        }
        assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    });
}

/// `2026-11-22T13:20:00.123Z out text`.
fn check_entry(line: &str) {
    let (time, rest) = line.split_once(' ').expect("a time");
    assert!(time.len() == 24 && time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{line:?}");
    let (stream, _) = rest.split_once(' ').unwrap_or((rest, ""));
    assert!(["out", "err", "lazarus"].contains(&stream), "{line:?}");
    check_line(line, true);
}
