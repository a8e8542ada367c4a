//! Memory, processor and disk: taking more than there is.

use std::{
    fs, io,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use super::{at, done, number};

const MIB: usize = 1 << 20;

fn no_memory() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOMEM)
}

/// `[MiB]`: takes memory, and touches all of it.
pub(in crate::drill) fn grow(arguments: &[String]) -> io::Result<String> {
    let mebibytes: usize = number(arguments, 0)?;
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mebibytes {
        let mut block = Vec::new();
        block.try_reserve_exact(MIB).map_err(|_| no_memory())?;
        block.resize(MIB, 1);
        blocks.push(block);
    }
    Ok(format!("{} MiB", blocks.len()))
}

/// `[processes, MiB]`: has several processes take memory at the same time.
pub(in crate::drill) fn grow_together(arguments: &[String]) -> io::Result<String> {
    let mut children = Vec::new();
    for _ in 0..number::<usize>(arguments, 0)? {
        let mut command = Command::new("lazarus");
        command.args([crate::drill::SUBCOMMAND, "hold", at(arguments, 1)?]).stdin(Stdio::piped()).stdout(Stdio::piped());
        children.push(command.stderr(Stdio::null()).spawn()?);
    }
    let mut all = true;
    for child in &mut children {
        // Each says a line once it has its memory, and keeps it until its input ends.
        let mut word = [0; 1];
        let said = child.stdout.as_mut().map(|out| io::Read::read(out, &mut word));
        all &= matches!(said, Some(Ok(1)));
    }
    for child in &mut children {
        drop(child.stdin.take());
        all &= child.wait()?.success();
    }
    if all { Ok(String::new()) } else { Err(no_memory()) }
}

/// `[milliseconds]`: uses so much of the processor's time, however long that takes on a busy machine.
pub(in crate::drill) fn spin(arguments: &[String]) -> io::Result<String> {
    use rustix::time::{ClockId, clock_gettime};
    let most: i64 = number(arguments, 0)?;
    let used = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    };
    while used() < most {
        for step in 0..100_000_u64 {
            std::hint::black_box(step);
        }
    }
    Ok(String::new())
}

/// `[milliseconds]`: does nothing for so long.
pub(in crate::drill) fn sleep(arguments: &[String]) -> io::Result<String> {
    std::thread::sleep(Duration::from_millis(number(arguments, 0)?));
    Ok(String::new())
}

/// `[policy]`: asks to be scheduled as `real-time`, or as every other process.
pub(in crate::drill) fn schedule(arguments: &[String]) -> io::Result<String> {
    let (policy, priority) = if at(arguments, 0)? == "real-time" { (libc::SCHED_FIFO, 1) } else { (libc::SCHED_OTHER, 0) };
    done(crate::unchecked::set_scheduler(policy, priority))
}

/// `[path, MiB]`: writes a file of that size.
pub(in crate::drill) fn fill(arguments: &[String]) -> io::Result<String> {
    let mut file = fs::File::create(at(arguments, 0)?)?;
    let block = vec![7; MIB];
    for _ in 0..number::<usize>(arguments, 1)? {
        file.write_all(&block)?;
    }
    Ok(String::new())
}

/// `[path, MiB]`: makes a file that only claims to be of that size.
pub(in crate::drill) fn sparse(arguments: &[String]) -> io::Result<String> {
    done(fs::File::create(at(arguments, 0)?)?.set_len(number::<u64>(arguments, 1)? << 20))
}

/// `[directory, count]`: makes that many files of 4 KiB, then waits to be found out.
pub(in crate::drill) fn many_files(arguments: &[String]) -> io::Result<String> {
    let (directory, count) = (at(arguments, 0)?, number::<usize>(arguments, 1)?);
    for index in 0..count {
        fs::write(format!("{directory}/many-{index}"), [7; 4096])?;
    }
    if count > 100 {
        std::thread::sleep(Duration::from_secs(9));
    }
    Ok(String::new())
}

/// `[directory, depth]`: makes directories within directories, which whoever removes the home must walk.
pub(in crate::drill) fn deep_tree(arguments: &[String]) -> io::Result<String> {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = openat(CWD, at(arguments, 0)?, flags, Mode::empty())?;
    for _ in 0..number::<usize>(arguments, 1)? {
        mkdirat(&dir, "deeper", Mode::RWXU)?;
        dir = openat(&dir, "deeper", flags, Mode::empty())?;
    }
    Ok(String::new())
}
