//! Preview 1 for core modules: wasmtime's own functions, with those wrapped that do not fit a host of ours.

use wasmtime::{AsContextMut as _, Caller, Extern, Linker};
use wasmtime_wasi::{
    I32Exit,
    p1::wasi_snapshot_preview1::{self as original, WasiSnapshotPreview1},
};
use wiggle::GuestMemory;

use super::guest::State;

/// The module name of preview 1.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Bytes of a `subscription` and of an `event`, as preview 1 lays them out.
const SUBSCRIPTION_BYTES: usize = 48;
const EVENT_BYTES: usize = 32;
/// `errno::fault`: a pointer outside of the guest's memory.
const ERRNO_FAULT: i32 = 21;
/// `errno::inval`.
const ERRNO_INVAL: i32 = 28;

/// Links preview 1.
///
/// # Errors
/// What wasmtime says; none of these names is taken.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    original::add_to_linker(linker, |state: &mut State| state)?;
    linker.allow_shadowing(true);
    // The original traps from 126 up; programs in the wild exit with 127 or 255, and their callers look at it.
    linker.func_wrap(PREVIEW1, "proc_exit", |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) })?;
    // The original, where it may do file work in place, sleeps in place too: nothing else in the host would run, not even a close.
    linker.func_wrap_async(PREVIEW1, "poll_oneoff", |caller, arguments| Box::new(poll_oneoff(caller, arguments)))?;
    // The original refuses a buffer that is larger than what a host call may allocate, with ENOMEM; it may as well be filled in part.
    linker.func_wrap_async(PREVIEW1, "fd_read", |mut caller: Caller<'_, State>, (fd, list, count, done): (i32, i32, i32, i32)| {
        Box::new(async move {
            let mut call = Call::new(&mut caller, list, count)?;
            let answer = original::fd_read(call.state, &mut call.memory, fd, list, count, done).await;
            call.finish(answer)
        })
    })?;
    linker.func_wrap_async(PREVIEW1, "fd_write", |mut caller: Caller<'_, State>, (fd, list, count, done): (i32, i32, i32, i32)| {
        Box::new(async move {
            let mut call = Call::new(&mut caller, list, count)?;
            let answer = original::fd_write(call.state, &mut call.memory, fd, list, count, done).await;
            call.finish(answer)
        })
    })?;
    linker.func_wrap_async(
        PREVIEW1,
        "fd_pread",
        |mut caller: Caller<'_, State>, (fd, list, count, offset, done): (i32, i32, i32, i64, i32)| {
            Box::new(async move {
                let mut call = Call::new(&mut caller, list, count)?;
                let answer = original::fd_pread(call.state, &mut call.memory, fd, list, count, offset, done).await;
                call.finish(answer)
            })
        },
    )?;
    linker.func_wrap_async(
        PREVIEW1,
        "fd_pwrite",
        |mut caller: Caller<'_, State>, (fd, list, count, offset, done): (i32, i32, i32, i64, i32)| {
            Box::new(async move {
                let mut call = Call::new(&mut caller, list, count)?;
                let answer = original::fd_pwrite(call.state, &mut call.memory, fd, list, count, offset, done).await;
                call.finish(answer)
            })
        },
    )?;
    Ok(())
}

/// The caller's memory and state, with the fuel of this call set, and the bytes that it may have allocated.
fn parts<'a>(caller: &'a mut Caller<'_, State>) -> wasmtime::Result<(&'a mut [u8], &'a mut State, usize)> {
    let fuel = caller.as_context_mut().hostcall_fuel();
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("the module does not export its memory as \"memory\"");
    };
    let (bytes, state) = memory.data_and_store_mut(caller);
    state.set_hostcall_fuel(fuel);
    Ok((bytes, state, fuel))
}

/// A read or write whose first buffer is made no longer than what a host call may allocate, for as long as the call lasts.
struct Call<'a> {
    state: &'a mut State,
    memory: GuestMemory<'a>,
    /// Where a length was shortened, and what stood there. The guest cannot see it: it has one thread, which is in this call.
    shortened: Option<(usize, [u8; 4])>,
}

impl<'a> Call<'a> {
    fn new(caller: &'a mut Caller<'_, State>, list: i32, count: i32) -> wasmtime::Result<Self> {
        let (bytes, state, fuel) = parts(caller)?;
        // The list of buffers is paid from the same fuel, eight bytes each.
        let most = u32::try_from(fuel / 2).unwrap_or(u32::MAX);
        let shortened = shorten(bytes, list.cast_unsigned(), count.cast_unsigned(), most);
        Ok(Self { state, memory: GuestMemory::Unshared(bytes), shortened })
    }

    fn finish<T>(mut self, answer: wasmtime::Result<T>) -> wasmtime::Result<T> {
        if let (Some((at, before)), GuestMemory::Unshared(bytes)) = (self.shortened.take(), &mut self.memory)
            && let Some(place) = bytes.get_mut(at..at + before.len())
        {
            place.copy_from_slice(&before);
        }
        answer
    }
}

/// Shortens the first buffer of a list that is not empty to `most` bytes, if it is longer. A list that is out of bounds, or that the
/// original would refuse for its length, is left alone.
fn shorten(bytes: &mut [u8], list: u32, count: u32, most: u32) -> Option<(usize, [u8; 4])> {
    if count > most / 8 {
        return None;
    }
    for index in 0..count {
        let at = usize::try_from(list.checked_add(index.checked_mul(8)?)?.checked_add(4)?).ok()?;
        let length: &mut [u8; 4] = bytes.get_mut(at..at.checked_add(4)?)?.try_into().ok()?;
        match u32::from_le_bytes(*length) {
            0 => {}
            long if long > most => {
                let before = *length;
                *length = most.to_le_bytes();
                return Some((at, before));
            }
            _ => return None,
        }
    }
    None
}

/// Sleeps on the event loop where the guest waits for one relative time alone; the original does everything else.
async fn poll_oneoff(mut caller: Caller<'_, State>, arguments: (i32, i32, i32, i32)) -> wasmtime::Result<i32> {
    let (subscriptions, events, count, done) = arguments;
    let (bytes, state, _) = parts(&mut caller)?;
    if count == 1 && Sleep::by_cpu_clock(bytes, subscriptions) {
        // The original would sleep in place for these too, where it may do file work in place.
        return Ok(ERRNO_INVAL);
    }
    let Some(event) = (count == 1).then(|| Sleep::asked(bytes, subscriptions)).flatten() else {
        return original::poll_oneoff(state, &mut GuestMemory::Unshared(bytes), subscriptions, events, count, done).await;
    };
    tokio::time::sleep(event.time).await;
    let written = put(bytes, events, &event.event()).and_then(|()| put(bytes, done, &1_u32.to_le_bytes()));
    Ok(if written.is_some() { 0 } else { ERRNO_FAULT })
}

fn put(bytes: &mut [u8], at: i32, what: &[u8]) -> Option<()> {
    let at = usize::try_from(at.cast_unsigned()).ok()?;
    bytes.get_mut(at..at.checked_add(what.len())?)?.copy_from_slice(what);
    Some(())
}

/// One subscription to a relative time.
struct Sleep {
    userdata: [u8; 8],
    time: std::time::Duration,
}

impl Sleep {
    /// Whether a subscription is to a clock that does not tell the time: of the CPU, of a process or a thread.
    fn by_cpu_clock(bytes: &[u8], at: i32) -> bool {
        let at = usize::try_from(at.cast_unsigned()).unwrap_or(usize::MAX);
        let clock = at.checked_add(16).and_then(|from| bytes.get(from..from.checked_add(4)?)?.try_into().ok()).map(u32::from_le_bytes);
        at.checked_add(8).and_then(|tag| bytes.get(tag)) == Some(&0) && clock.is_some_and(|clock| clock > 1)
    }

    /// Reads a subscription, if it is one to a relative time.
    fn asked(bytes: &[u8], at: i32) -> Option<Self> {
        let at = usize::try_from(at.cast_unsigned()).ok()?;
        let bytes = bytes.get(at..at.checked_add(SUBSCRIPTION_BYTES)?)?;
        let clock = u32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?);
        let nanos = u64::from_le_bytes(bytes.get(24..32)?.try_into().ok()?);
        let flags = u16::from_le_bytes(bytes.get(40..42)?.try_into().ok()?);
        // Tag 0: a clock; 0 the time of day, 1 monotonic. Flag 1: absolute; further flags do not exist.
        (bytes[8] == 0 && clock <= 1 && flags == 0)
            .then_some(Self { userdata: bytes.get(..8)?.try_into().ok()?, time: std::time::Duration::from_nanos(nanos) })
    }

    /// The event: this userdata, no error, type 0 (a clock).
    fn event(&self) -> [u8; EVENT_BYTES] {
        let mut event = [0; EVENT_BYTES];
        event[..8].copy_from_slice(&self.userdata);
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_full_buffer_is_shortened() {
        let mut bytes = [0_u8; 64];
        bytes[12..16].copy_from_slice(&5000_u32.to_le_bytes());
        bytes[20..24].copy_from_slice(&9000_u32.to_le_bytes());
        assert_eq!(shorten(&mut bytes, 0, 3, 4096), Some((12, 5000_u32.to_le_bytes())));
        assert_eq!(bytes[12..16], 4096_u32.to_le_bytes());
        assert_eq!(bytes[20..24], 9000_u32.to_le_bytes());
        assert_eq!(shorten(&mut bytes, 0, 3, 4096), None, "short enough now");
    }

    #[test]
    fn lists_out_of_bounds_are_left_to_the_original() {
        let mut bytes = [0xff_u8; 64];
        for (list, count) in [(64, 1), (60, 1), (u32::MAX, 1), (0, u32::MAX), (u32::MAX - 3, 2)] {
            assert_eq!(shorten(&mut bytes, list, count, 4096), None, "{list} {count}");
        }
    }

    #[test]
    fn only_relative_sleeps_are_taken_over() {
        let mut bytes = [0_u8; 96];
        bytes[24] = 9;
        assert!(Sleep::asked(&bytes, 0).is_some());
        bytes[40] = 1;
        assert!(Sleep::asked(&bytes, 0).is_none(), "absolute");
        bytes[40] = 0;
        bytes[8] = 1;
        assert!(Sleep::asked(&bytes, 0).is_none(), "a descriptor");
        bytes[16] = 2;
        assert!(!Sleep::by_cpu_clock(&bytes, 0), "a descriptor");
        bytes[8] = 0;
        assert!(Sleep::by_cpu_clock(&bytes, 0) && Sleep::asked(&bytes, 0).is_none());
        bytes[16] = 1;
        assert!(!Sleep::by_cpu_clock(&bytes, 0) && !Sleep::by_cpu_clock(&bytes, -1) && !Sleep::by_cpu_clock(&bytes, 90));
        bytes[16] = 0;
        assert!(Sleep::asked(&bytes, 49).is_none());
        assert!(Sleep::asked(&bytes, -1).is_none());
    }
}
