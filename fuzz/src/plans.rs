//! `plan.json` of a root that was damaged, or is somebody else's; and what the kernel says of processes that choose their own names.

use lazarus::{cell::CellId, jail::liveness::parse_stat, warden::KeptPlan};

/// Reads a kept plan; one that is understood is this cell's, and comes back the same. The same bytes as a process's name forge nothing.
pub fn plan(data: &[u8]) {
    let cell = CellId::from_bits(7);
    match KeptPlan::parse(data, &cell) {
        Ok(plan) => {
            let json = serde_json::to_vec(&plan).expect("a plan has a form");
            assert_eq!(KeptPlan::parse(&json, &cell).expect("a plan of ours"), plan);
            assert!(KeptPlan::parse(&json, &CellId::from_bits(8)).is_err(), "another cell's");
        }
        Err(refused) => assert!(refused.to_string().len() <= 1024),
    }
    let _ = parse_stat(data);
    let status = [b"7 (", data, b") S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"].concat();
    let stat = parse_stat(&status).expect("the kernel's words");
    assert_eq!((stat.state, stat.start_ticks), (b'S', 4711), "a name has no say");
}
