//! The attacker: tries what it is told, from inside a jail, and prints how each attempt ended.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    path::Path,
    process::ExitCode,
    sync::OnceLock,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::{Pid, Signal},
};

/// Runs operations such as `read:/etc/shadow`; prints `read:/etc/shadow = EACCES`, or `= ok`.
pub fn main(operations: &[&str]) -> ExitCode {
    for operation in operations {
        let (verb, rest) = operation.split_once(':').unwrap_or((operation, ""));
        let outcome = match attempt(verb, rest) {
            Ok(said) if said.is_empty() => "ok".to_owned(),
            Ok(said) => said,
            Err(error) => name(&error),
        };
        println!("{operation} = {outcome}");
    }
    ExitCode::SUCCESS
}

/// The kernel's name for an error.
fn name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM".into(),
        Some(libc::EACCES) => "EACCES".into(),
        Some(libc::ENOENT) => "ENOENT".into(),
        Some(libc::EROFS) => "EROFS".into(),
        Some(libc::EXDEV) => "EXDEV".into(),
        Some(libc::ENOSYS) => "ENOSYS".into(),
        Some(libc::ESRCH) => "ESRCH".into(),
        Some(libc::EBADF) => "EBADF".into(),
        Some(libc::EINVAL) => "EINVAL".into(),
        Some(libc::EFBIG) => "EFBIG".into(),
        _ => format!("{error}"),
    }
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.parse().unwrap()).unwrap()
}

fn pair(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap()
}

fn done<T, E: Into<io::Error>>(result: Result<T, E>) -> io::Result<String> {
    result.map(|_| String::new()).map_err(Into::into)
}

fn attempt(verb: &str, rest: &str) -> io::Result<String> {
    match verb {
        "read" => done(fs::read(rest)),
        "list" => done(fs::read_dir(rest).map(Iterator::count)),
        "cat" => fs::read_to_string(rest).map(|text| text.trim().replace('\n', "|")),
        "write" => done(fs::write(rest, "attack")),
        "append" => done(openat(CWD, rest, OFlags::WRONLY | OFlags::APPEND, Mode::empty())),
        "truncate" => done(fs::OpenOptions::new().write(true).truncate(true).open(rest)),
        "mkdir" => done(fs::create_dir(rest)),
        "remove" => done(fs::remove_file(rest)),
        "link" => done(fs::hard_link(pair(rest).0, pair(rest).1)),
        "rename" => done(fs::rename(pair(rest).0, pair(rest).1)),
        "symlink" => done(std::os::unix::fs::symlink(pair(rest).0, pair(rest).1)),
        "mknod" => done(rustix::fs::mknodat(CWD, rest, rustix::fs::FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3))),
        "see" => done(fs::symlink_metadata(rest)),
        "fill" => fill(rest),
        "many" => many(pair(rest).0, pair(rest).1.parse().unwrap()),
        "held" => done(rustix::io::fcntl_getfd(lazarus::unchecked::inherited_fd(rest.parse().unwrap())?)),
        "descriptors" => Ok(descriptors()),
        "env" => Ok(std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")),
        "cwd" => std::env::current_dir().map(|dir| dir.display().to_string()),
        "pid" => Ok(std::process::id().to_string()),
        "threads" => Ok(std::thread::spawn(|| 7).join().unwrap().to_string()),
        "exec" => std::process::Command::new(rest).output().map(|out| format!("exit {}", out.status.code().unwrap_or(-1))),
        "wasm" => Ok(wasm(rest)),
        "compile" => Ok((wasmtime::Engine::default().precompile_module(MODULE.as_bytes()).unwrap().len() > 1000).to_string()),
        "tokio" => Ok(tokio_works()),
        "replace" => Err(std::os::unix::process::CommandExt::exec(&mut std::process::Command::new(rest))),
        _ => syscall(verb, rest),
    }
}

/// Writes until it fails.
fn fill(path: &str) -> io::Result<String> {
    let mut file = fs::File::create(path)?;
    let block = vec![7; 1 << 20];
    for _ in 0..4096 {
        io::Write::write_all(&mut file, &block)?;
    }
    Err(io::Error::other("never full"))
}

/// Makes so many empty files in a directory.
fn many(dir: &str, count: u32) -> io::Result<String> {
    (0..count).try_for_each(|number| fs::File::create(format!("{dir}/{number}")).map(drop))?;
    Ok(String::new())
}

/// The descriptors beyond the standard streams that this process was started with.
fn descriptors() -> String {
    let held: Vec<String> = (3..1024).filter(|number| lazarus::unchecked::inherited_fd(*number).is_ok()).map(|n| n.to_string()).collect();
    if held.is_empty() { "none".to_owned() } else { held.join("|") }
}

/// One function that returns, two that trap.
const MODULE: &str = r#"(module (memory 1) (data (i32.const 0) "cell")
    (func (export "return") (result i32) (i32.load8_u (i32.const 0)))
    (func (export "trap") (result i32) (i32.load (i32.const 0x7fff0000)))
    (func (export "deep") (result i32) (call 2)))"#;

/// The module, whose code must be there before a jail closes: nothing is made executable behind it.
static COMPILED: OnceLock<(wasmtime::Engine, wasmtime::Module)> = OnceLock::new();

/// Compiles the module, in this thread: a process confines itself while it has one.
pub fn compile() {
    COMPILED.get_or_init(|| {
        let engine = wasmtime::Engine::new(wasmtime::Config::new().parallel_compilation(false)).unwrap();
        let module = wasmtime::Module::new(&engine, MODULE).unwrap();
        (engine, module)
    });
}

/// Runs the module, in which one function returns and another traps, through a signal.
fn wasm(function: &str) -> String {
    let (engine, module) = COMPILED.get().expect("compiled before the jail was closed");
    let mut store = wasmtime::Store::new(engine, ());
    let instance = wasmtime::Instance::new(&mut store, module, &[]).unwrap();
    let called = instance.get_typed_func::<(), i32>(&mut store, function).unwrap().call(&mut store, ());
    called.map_or_else(|error| error.downcast_ref::<wasmtime::Trap>().unwrap().to_string(), |value| value.to_string())
}

/// A timer, a pool thread and a pair of sockets on an event loop.
fn tokio_works() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let (mut a, mut b) = tokio::net::UnixStream::pair().unwrap();
        let pooled = tokio::task::spawn_blocking(|| 7_u8).await.unwrap();
        tokio::io::AsyncWriteExt::write_u8(&mut a, pooled).await.unwrap();
        tokio::io::AsyncReadExt::read_u8(&mut b).await.unwrap().to_string()
    })
}

/// Calls by number, with harmless arguments: those that are refused are refused before their arguments are looked at.
fn syscall(verb: &str, rest: &str) -> io::Result<String> {
    match verb {
        "socket" => {
            let kind = match rest {
                "unix-stream" => SocketType::STREAM,
                "unix-seqpacket" => SocketType::SEQPACKET,
                _ => SocketType::DGRAM,
            };
            let family = match rest {
                "inet" => AddressFamily::INET,
                "inet6" => AddressFamily::INET6,
                "netlink" => AddressFamily::NETLINK,
                _ => AddressFamily::UNIX,
            };
            done(rustix::net::socket(family, kind, None))
        }
        "connect" => connect(rest),
        "connect-raw" => connect_raw(rest),
        "bind" => done(bind(rest)),
        "socketpair" => {
            let kind = if rest == "dgram" { SocketType::DGRAM } else { SocketType::STREAM };
            done(rustix::net::socketpair(AddressFamily::UNIX, kind, rustix::net::SocketFlags::CLOEXEC, None))
        }
        "signal" => done(rustix::process::test_kill_process(pid(rest))),
        "kill" => done(rustix::process::kill_process(pid(rest), Signal::KILL)),
        "mount" => done(rustix::mount::mount_bind("/", rest)),
        "unmount" => done(rustix::mount::unmount(rest, rustix::mount::UnmountFlags::DETACH)),
        "chroot" => done(rustix::process::chroot(rest)),
        "unshare" => done(lazarus::unchecked::unshare(rustix::thread::UnshareFlags::NEWUSER)),
        "setns" => done(
            fs::File::open("/proc/self/ns/user")
                .map(|ns| rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&ns), None))?,
        ),
        "sethostname" => done(rustix::system::sethostname(rest.as_bytes())),
        "memory" => grow(rest),
        "forks" => Ok(forks(rest)),
        "crowded" => Ok(crowded(rest)),
        "exists" => Ok(Path::new(rest).exists().to_string()),
        "raw" => raw(rest),
        _ => panic!("no such operation: {verb}"),
    }
}

/// Connects to a path, says something, and returns what is answered.
fn connect(path: &str) -> io::Result<String> {
    let stream = match path.strip_prefix('@') {
        Some(name) => {
            let address = SocketAddr::from_abstract_name(name)?;
            UnixStream::connect_addr(&address)?
        }
        None => UnixStream::connect(path)?,
    };
    (&stream).write_all(b"hello")?;
    let mut said = [0; 64];
    let read = (&stream).read(&mut said)?;
    Ok(String::from_utf8_lossy(&said[..read]).trim().to_owned())
}

/// Connects a socket that does not wait and survives an exec, and returns whether it still is so.
fn connect_raw(path: &str) -> io::Result<String> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let flags = rustix::fs::fcntl_getfl(&socket)?;
    let kept = flags.contains(OFlags::NONBLOCK) && rustix::io::fcntl_getfd(&socket)?.is_empty();
    let again = rustix::net::connect(&socket, &SocketAddrUnix::new("/elsewhere")?);
    Ok(format!("{kept} {}", again.is_err()))
}

fn bind(path: &str) -> io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    Ok(rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?)
}

/// Allocates and touches memory.
fn grow(mib: &str) -> io::Result<String> {
    let bytes = mib.parse::<usize>().unwrap() << 20;
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
    memory.resize(bytes, 1);
    Ok(memory.len().to_string())
}

/// Starts processes that stay, until one cannot be started.
fn forks(most: &str) -> String {
    let mut children = Vec::new();
    let most: usize = most.parse().unwrap();
    while children.len() < most {
        match std::process::Command::new("/bin/sleep").arg("1000").spawn() {
            Ok(child) => children.push(child),
            Err(_) => break,
        }
    }
    let count = children.len();
    for mut child in children {
        let _ = child.kill().and_then(|()| child.wait());
    }
    if count == most { "all".to_owned() } else { "fewer".to_owned() }
}

/// Starts processes until there is no room for one more, connects, makes room for one, and connects again.
fn crowded(path: &str) -> String {
    let mut children = Vec::new();
    while let Ok(child) = std::process::Command::new("/bin/sleep").arg("1000").spawn() {
        children.push(child);
    }
    let count = children.len();
    let crowded = connect(path).map_err(|error| error.raw_os_error());
    let mut end = |mut child: std::process::Child| child.kill().and_then(|()| child.wait()).unwrap();
    children.pop().map(&mut end).unwrap();
    let roomy = connect(path).map_err(|error| error.raw_os_error());
    for child in children {
        end(child);
    }
    format!("{count}: {crowded:?}, then {roomy:?}")
}

/// A call by number, `raw:NUMBER:ARGUMENT:…`, for those that nothing wraps safely. Needs perl, whose `syscall` is what the shell lacks.
fn raw(call: &str) -> io::Result<String> {
    let script = format!("$r = syscall({}); print $r < 0 ? $!+0 : 0", call.replace(':', ","));
    let output = std::process::Command::new("/usr/bin/perl")
        .args(["-e", &script])
        .stdin(std::process::Stdio::inherit())
        .output()
        .expect("perl is needed");
    match String::from_utf8_lossy(&output.stdout).parse() {
        Ok(0) => Ok(String::new()),
        Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
        Err(_) => Ok(format!("{:?}", output.status)),
    }
}
