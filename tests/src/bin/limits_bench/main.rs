//! What limits cost, and how exactly they hold, for `cargo xtask bench`: prints one JSON object of raw figures.
//!
//! Usage: `limits_bench LAZARUS KEEPER.WASM FAULTY.WASM DIRECTORY ROUNDS [flood]`. The program under test is `LAZARUS`; everything is made
//! below `DIRECTORY`. With `flood`, nothing else is measured.

mod flood;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use lazarus::{
    audit::Action,
    cell::CellId,
    registry::{AuditFilter, Registry},
};
use serde_json::{Value, json};
use wasmtime_wasi::{FsPerms, WasiCtx, p1, p2::pipe::MemoryOutputPipe};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Writes that are timed together, 64 KiB each: few, so that what else the machine does spoils few.
const WRITES: u32 = 20;
/// Of these in a round.
const BATCHES: u32 = 300;
/// The budgets that are overrun.
const BUDGET: Duration = Duration::from_millis(300);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lazarus, keeper, faulty, directory, rounds, only @ ..] = arguments.as_slice() else {
        return Err("usage: limits_bench LAZARUS KEEPER.WASM FAULTY.WASM DIRECTORY ROUNDS [flood]".into());
    };
    let bench = Bench { lazarus: lazarus.into(), directory: directory.into() };
    let rounds: u32 = rounds.parse()?;
    if only.first().is_some_and(|only| only == "flood") {
        println!("{}", bench.flood(Path::new(keeper))?);
        return Ok(());
    }
    let figures = json!({
        "writes": bench.writes(rounds)?,
        "overruns": bench.overruns(Path::new(faulty), rounds)?,
        "flood": bench.flood(Path::new(keeper))?,
    });
    println!("{figures}");
    Ok(())
}

/// The program under test, and where it works.
struct Bench {
    lazarus: PathBuf,
    directory: PathBuf,
}

/// Writes batches of 64 KiB pieces into two files, in turn, one in each of its directories; then to stdout how many nanoseconds each batch
/// took, in eight bytes.
fn writer() -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 512) "out")
  (func $ok (param $errno i32) (if (local.get $errno) (then (unreachable))))
  (func $now (result i64) (call $ok (call $clock (i32.const 1) (i64.const 1) (i32.const 32))) (i64.load (i32.const 32)))
  (func $open (param $dir i32) (result i32)
    (call $ok (call $path_open (local.get $dir) (i32.const 0) (i32.const 512) (i32.const 3) (i32.const 9) (i64.const 66) (i64.const 0)
      (i32.const 0) (i32.const 16)))
    (i32.load (i32.const 16)))
  (func $batch (param $fd i32) (result i64) (local $i i32) (local $since i64)
    (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))
    (local.set $since (call $now))
    (loop $more
      (call $ok (call $pwrite (local.get $fd) (i32.const 0) (i32.const 1)
        (i64.mul (i64.extend_i32_u (local.get $i)) (i64.const 65536)) (i32.const 8)))
      (if (i32.ne (i32.load (i32.const 8)) (i32.const 65536)) (then (unreachable)))
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {WRITES}))))
    (i64.sub (call $now) (local.get $since)))
  (func (export "_start") (local $one i32) (local $other i32) (local $at i32)
    (local.set $one (call $open (i32.const 3))) (local.set $other (call $open (i32.const 4)))
    ;; The first of each makes the file.
    (drop (call $batch (local.get $one))) (drop (call $batch (local.get $other)))
    (local.set $at (i32.const 131072))
    (loop $more
      (i64.store (local.get $at) (call $batch (local.get $one)))
      (i64.store offset=8 (local.get $at) (call $batch (local.get $other)))
      (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (i32.const {end}))))
    (call $ok (call $unlink (i32.const 3) (i32.const 512) (i32.const 3)))
    (call $ok (call $unlink (i32.const 4) (i32.const 512) (i32.const 3)))
    (i32.store (i32.const 0) (i32.const 131072)) (i32.store (i32.const 4) (i32.const {bytes}))
    (call $ok (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (i32.ne (i32.load (i32.const 8)) (i32.const {bytes})) (then (unreachable)))))"#,
        end = 131_072 + BATCHES * 16,
        bytes = BATCHES * 16,
    )
}

/// Writes the time of day to stdout, as eight bytes, in nanoseconds; then does this for ever.
fn says_when(then: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func (export "_start")
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 1024)))
    (i32.store (i32.const 512) (i32.const 1024)) (i32.store (i32.const 516) (i32.const 8))
    (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))
    {then}))"#
    )
}

/// Sleeps for an hour, in one host call.
const SLEEP: &str = "(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))";

impl Bench {
    fn root(&self) -> PathBuf {
        self.directory.join("limits-root")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.lazarus);
        command.args(arguments).env("LAZARUS_ROOT", self.root()).env_remove("LAZARUS_IDENTITY").stdin(Stdio::null());
        command
    }

    fn call(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.command(arguments).arg("--json").stderr(Stdio::inherit()).output()?;
        let value: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{arguments:?}: {}: {error}", output.status))?;
        if output.status.success() { Ok(value) } else { Err(format!("{arguments:?}: {}", value["message"]).into()) }
    }

    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.directory.join(name);
        fs::write(&path, text)?;
        Ok(path.to_str().ok_or("a path is not text")?.to_owned())
    }

    /// The same guest through plain wasmtime-wasi; and in a cell, in turn, where it writes into its home, which has a quota, and into a mount,
    /// which has none.
    fn writes(&self, rounds: u32) -> Result<Value> {
        let file = self.file("writer.wat", &writer())?;
        let plain = Plain::new(&writer(), &self.directory)?;
        let mount = self.directory.join("mount");
        fs::create_dir_all(&mount)?;
        let mount = format!("{}:/mount:rw", mount.display());
        let (mut without, mut home, mut mounted) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            let of_plain = batches(&plain.round()?)?;
            let output = self.command(&["run", "--mount", &mount, &file]).stderr(Stdio::inherit()).output()?;
            let (of_home, of_mount) = batches(&output.stdout)?;
            // The first of each filled the caches.
            if round > 0 {
                without.extend(of_plain.0);
                home.extend(of_home);
                mounted.extend(of_mount);
            }
        }
        Ok(json!({ "bytes": 65536, "writes": WRITES, "plain_ns": without, "home_ns": home, "mount_ns": mounted }))
    }

    /// By how much guests overrun their budgets: computing, and sleeping in a host call.
    fn overruns(&self, faulty: &Path, rounds: u32) -> Result<Value> {
        let spin = self.file("spin.wat", &says_when("(loop $more (br $more))"))?;
        let budget = format!("{}ms", BUDGET.as_millis());
        let mut spinning = Vec::new();
        for _ in 0..rounds {
            let output = self.command(&["run", "--cpu", &budget, &spin]).output()?;
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            let ran = now.saturating_sub(Duration::from_nanos(nanos(&output.stdout)?));
            spinning.push(micros(ran.saturating_sub(BUDGET)));
        }
        let (spinning_event, sleeping_event) = (self.events(faulty, "spin", rounds)?, self.events(faulty, "sleep 3600", rounds)?);
        Ok(json!({
            "budget_us": micros(BUDGET),
            "spinning_us": spinning,
            "spinning_event_us": spinning_event,
            "sleeping_event_us": sleeping_event,
        }))
    }

    /// Events that take longer than they may: from the acceptance of the message to the row of the limit, both in the audit.
    fn events(&self, faulty: &Path, text: &str, rounds: u32) -> Result<Vec<u64>> {
        let budget = format!("{}ms", BUDGET.as_millis());
        let file = faulty.to_str().ok_or("a path is not text")?;
        let mut over = Vec::new();
        // A row a minute for an agent and its limit: a cell for each.
        for _ in 0..rounds {
            let cell: CellId = cell_of(&self.call(&["summon", "faulty", "bench", "--component", file, "--event", &budget])?)?;
            self.call(&["send", &cell.to_string(), text])?;
            let registry = Registry::open(&self.root())?;
            let filter = AuditFilter { cell: Some(cell.clone()), ..AuditFilter::default() };
            let took = wait_for("the limit is on record", || {
                let rows = registry.audit_rows(&filter)?;
                let at = |action| rows.iter().find(|row| row.action == action).map(|row| row.at);
                Ok(at(Action::Send).zip(at(Action::Limit)).map(|(sent, hit)| hit - sent))
            })?;
            over.push(micros(took.to_std()?.saturating_sub(BUDGET)));
            self.call(&["destroy", &cell.to_string(), "--force"])?;
        }
        Ok(over)
    }
}

/// The guest as wasmtime's own command would run it.
struct Plain {
    linker: wasmtime::Linker<p1::WasiP1Ctx>,
    module: wasmtime::Module,
    places: [PathBuf; 2],
}

impl Plain {
    fn new(source: &str, directory: &Path) -> Result<Self> {
        let engine = wasmtime::Engine::default();
        let mut linker = wasmtime::Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |wasi| wasi)?;
        let places = ["plain-home", "plain-mount"].map(|name| directory.join(name));
        for place in &places {
            fs::create_dir_all(place)?;
        }
        Ok(Self { linker, module: wasmtime::Module::new(&engine, source)?, places })
    }

    fn round(&self) -> Result<Vec<u8>> {
        let stdout = MemoryOutputPipe::new(1 << 20);
        let mut wasi = WasiCtx::builder();
        wasi.stdout(stdout.clone()).allow_blocking_current_thread(true);
        for (place, name) in self.places.iter().zip(["/home", "/mount"]) {
            wasi.preopened_dir(place, name, FsPerms::ReadWrite)?;
        }
        let mut store = wasmtime::Store::new(self.linker.engine(), wasi.build_p1());
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
        Ok(stdout.contents().to_vec())
    }
}

/// How long each batch took, in nanoseconds: into the first directory, and into the second.
fn batches(stdout: &[u8]) -> Result<(Vec<u64>, Vec<u64>)> {
    if stdout.len() != usize::try_from(BATCHES * 16)? {
        return Err(format!("the writer said {} bytes", stdout.len()).into());
    }
    let (pairs, _) = stdout.as_chunks::<16>();
    let split = |pair: &[u8; 16]| -> Result<(u64, u64)> {
        let (one, other) = pair.split_at(8);
        Ok((nanos(one)?, nanos(other)?))
    };
    pairs.iter().map(split).collect::<Result<Vec<_>>>().map(|pairs| pairs.into_iter().unzip())
}

fn nanos(stdout: &[u8]) -> Result<u64> {
    let bytes: [u8; 8] = stdout.try_into().map_err(|_| format!("{} bytes instead of eight", stdout.len()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn cell_of(answer: &Value) -> Result<CellId> {
    Ok(answer["cell_id"].as_str().ok_or("the answer has no cell_id")?.parse()?)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} until {what}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}
