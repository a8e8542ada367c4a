//! An agent that takes part in its cell's talk: where its connections lead, and where they do not.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::Arc,
};

use lazarus::{
    backend::process::{Groups, spawn},
    jail::cgroup::Cgroup,
    policy::{Access, Extent},
};

use crate::{
    Case,
    fixture::{World, live, no_namespaces},
};

pub const CASES: &[Case] = &[
    ("connections_lead_to_the_cell_and_nowhere_else", connections),
    ("an_agent_without_a_part_in_the_talk_makes_no_socket", silent),
    ("many_connections_and_threads", many),
    ("an_agent_that_has_used_up_its_processes_is_led_all_the_same", crowded),
];

const CELL: &str = "/run/lazarus/cell.sock";

fn both(speaks: bool) -> [World; 2] {
    let mut shared = World::new();
    shared.namespaces = no_namespaces();
    let mut worlds = [World::new(), shared];
    for world in &mut worlds {
        world.speaks = speaks;
    }
    worlds
}

fn crowded() {
    let mut world = World::new();
    world.speaks = true;
    world.policy.limits.processes = std::num::NonZeroU32::new(24).unwrap();
    let group = match Cgroup::create(&"laz-0011ccdd".parse().unwrap(), &"probe".parse().unwrap(), &world.policy.limits, 0) {
        Ok(group) if group.holds().processes => group,
        // An ordinary user's processes are counted with all others of theirs.
        Ok(_) | Err(_) => return assert!(!rustix::process::geteuid().is_root(), "root has control groups"),
    };
    let mut options = world.options();
    options.groups = Groups::Made(Arc::new(group));
    let exe = crate::fixture::program().display().to_string();
    let operation = format!("crowded:{CELL}");
    let life = live(spawn(&world.launch(&[&exe, "probe", &operation]), &options).unwrap());
    // The attacker itself is one of the 24, and whatever its reaper needs is none of them.
    let wanted = "23: Ok(\"the cell\"), then Ok(\"the cell\")";
    assert_eq!(life.said.get(&operation).map(String::as_str), Some(wanted), "{life:?}");
}

fn connections() {
    for mut world in both(true) {
        // A service of the machine, in a place that the agent reaches in every way there is: its home, and a mount at the same path.
        let in_home = world.path("home/service.sock");
        let in_mount = world.path("rw/service.sock");
        world.mount("rw", &world.path("rw"), Access::Rw);
        let name = format!("lazarus-test-{}", std::process::id());
        let listeners = [
            UnixListener::bind(&in_home).unwrap(),
            UnixListener::bind(&in_mount).unwrap(),
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
        ];
        world.expect(&[
            ("the cell", format!("connect:{CELL}")),
            ("true true", format!("connect-raw:{CELL}")),
            ("true", format!("exists:{in_home}")),
            ("EACCES", format!("connect:{in_home}")),
            ("true", format!("exists:{in_mount}")),
            ("EACCES", format!("connect:{in_mount}")),
            ("EACCES", format!("connect:@{name}")),
            ("EACCES", format!("connect:@{CELL}")),
            ("EACCES", "connect:/run/lazarus/../lazarus/cell.sock".to_owned()),
            ("EACCES", "connect:/var/run/nscd/socket".to_owned()),
            ("ok", "socket:unix-stream".to_owned()),
            ("EACCES", "socket:unix-seqpacket".to_owned()),
            ("EACCES", "socket:unix".to_owned()),
            ("EACCES", "socket:inet".to_owned()),
            ("EACCES", "socket:inet6".to_owned()),
            ("EACCES", "socket:netlink".to_owned()),
            ("EACCES", "socketpair:dgram".to_owned()),
            ("EACCES", format!("bind:{}", world.path("home/mine.sock"))),
            // A descriptor that is no socket, and one that is not open.
            ("EACCES", format!("raw:{}:0:0:0", libc::SYS_connect)),
        ]);
        for listener in listeners {
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "somebody came through");
        }
        let report = world.run(&["true"]).report.expect("a report");
        assert!(report.entries().iter().any(|entry| entry.promise.starts_with("connects to its cell") && entry.extent == Extent::Full));
    }
}

fn silent() {
    for world in both(false) {
        world.expect(&[
            ("EACCES", "socket:unix-stream".to_owned()),
            ("EACCES", format!("connect:{CELL}")),
            ("ok", "socketpair:stream".to_owned()),
        ]);
        let life = world.run(&["sh", "-c", "echo \"${LAZARUS_SOCKET:-none}\""]);
        assert_eq!(life.stdout, "none\n", "{life:?}");
    }
}

fn many() {
    for world in both(true) {
        let life = world.run(&["sh", "-c", "echo $LAZARUS_SOCKET"]);
        assert_eq!(life.stdout.trim(), CELL, "{life:?}");
        let operations: Vec<String> = (0..50).map(|_| format!("connect:{CELL}")).collect();
        let program = crate::fixture::program().display().to_string();
        let mut argv = vec![program.as_str(), "probe"];
        argv.extend(operations.iter().map(String::as_str));
        let life = world.run(&argv);
        assert_eq!(life.stdout.lines().filter(|line| line.ends_with("= the cell")).count(), 50, "{life:?}");
    }
}
