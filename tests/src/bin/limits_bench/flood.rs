//! What a guest that floods its log costs its neighbours: one in its own cell, and one in another.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use lazarus::{
    cell::CellId,
    mail::Text,
    operator::{Fate, Operator, Outgoing, Recipient},
};
use serde_json::{Value, json};

use super::{Bench, PATIENCE, Result, SLEEP, cell_of, micros, says_when, wait_for};

/// Rounds: each measures a neighbour beside a guest that is quiet, and beside one that floods, in turn.
const ROUNDS: u32 = 10;
/// Round trips of a neighbour in each part of a round: few, so that a machine that is busy for a while is busy for all parts.
const ROUND_TRIPS: u32 = 40;
/// What a flood has written before it counts as one.
const FLOOD_BYTES: u64 = 1 << 30;
/// What is kept of a log by default.
const LIMIT_BYTES: u64 = 4 << 20;
/// What a flood leaves in its home once it has written so much.
const MARK: &str = "flooded";

/// How a guest floods.
struct Flood {
    name: &'static str,
    /// Bytes of a write.
    piece: u64,
    /// Whether each write is a line.
    is_lines: bool,
}

const FLOODS: [Flood; 3] = [
    Flood { name: "large", piece: 65536, is_lines: false },
    Flood { name: "lines", piece: 64, is_lines: true },
    Flood { name: "bytes", piece: 1, is_lines: false },
];

impl Flood {
    /// Writes to stdout for ever, and leaves a mark once it wrote so much that it is a flood.
    fn program(&self) -> String {
        let Self { piece, is_lines, .. } = self;
        let times = FLOOD_BYTES.min(*piece << 20) / piece;
        let end = if *is_lines { 10 } else { 0 };
        let flood = format!(
            "(i32.store8 (i32.const {last}) (i32.const {end}))
            (i32.store (i32.const 512) (i32.const 65536)) (i32.store (i32.const 516) (i32.const {piece}))
            (loop $more (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))
              (i32.store (i32.const 600) (i32.add (i32.load (i32.const 600)) (i32.const 1)))
              (if (i32.eq (i32.load (i32.const 600)) (i32.const {times})) (then
                (drop (call $open (i32.const 3) (i32.const 0) (i32.const 700) (i32.const {length}) (i32.const 1) (i64.const 64) (i64.const 0)
                  (i32.const 0) (i32.const 520)))))
              (br $more))",
            last = 65536 + piece - 1,
            length = MARK.len(),
        );
        says_when(&flood).replace(
            "(memory ",
            &format!(
                "(import \"wasi_snapshot_preview1\" \"path_open\" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (data (i32.const 700) \"{MARK}\")
  (memory "
            ),
        )
    }
}

/// An agent that is measured, beside another one.
struct Neighbour<'b> {
    bench: &'b Bench,
    /// Its cell, and that of the other: the same, or not.
    cells: [CellId; 2],
}

impl Bench {
    /// A neighbour's round trips, beside a guest that is quiet, and beside ones that flood their logs.
    pub(super) fn flood(&self, keeper: &Path) -> Result<Value> {
        let mut agents = vec![("sleeper", self.file("sleeper.wat", &says_when(SLEEP))?)];
        for flood in &FLOODS {
            agents.push((flood.name, self.file(&format!("{}.wat", flood.name), &flood.program())?));
        }
        agents.push(("keeper", keeper.to_str().ok_or("a path is not text")?.to_owned()));
        agents.iter().try_for_each(|(name, component)| self.define(name, component))?;
        let mut figures = Vec::new();
        for flood in &FLOODS {
            let (mut quiet, mut same, mut other, mut kept) = (Vec::new(), Vec::new(), Vec::new(), 0);
            for round in 1..=ROUNDS {
                quiet.push(self.beside("sleeper", true)?.round_trips()?);
                for (together, took) in [(true, &mut same), (false, &mut other)] {
                    let neighbour = self.beside(flood.name, together)?;
                    took.push(neighbour.round_trips()?);
                    // The others are ended in the middle of their floods.
                    if round == ROUNDS {
                        kept = kept.max(neighbour.kept(flood.name)?);
                    }
                }
            }
            figures.push(json!({
                "name": flood.name, "piece_bytes": flood.piece, "flood_bytes": FLOOD_BYTES.min(flood.piece << 20),
                "quiet_us": quiet, "same_cell_us": same, "other_cell_us": other, "kept_bytes": kept, "limit_bytes": LIMIT_BYTES,
            }));
        }
        Ok(Value::Array(figures))
    }

    fn define(&self, name: &str, component: &str) -> Result<()> {
        let place = self.directory.join(format!("define-{name}"));
        fs::create_dir_all(&place)?;
        let copied = format!("{name}.wasm");
        fs::copy(component, place.join(&copied))?;
        let definition = place.join("agent.toml");
        fs::write(&definition, format!("[agent]\nname = \"{name}\"\ncomponent = \"{copied}\"\n"))?;
        self.call(&["agent", "add", definition.to_str().ok_or("a path is not text")?])?;
        Ok(())
    }

    /// A keeper beside another agent, in a team with it, or in a cell of its own.
    fn beside(&self, other: &str, together: bool) -> Result<Neighbour<'_>> {
        let team = |agents: &str| cell_of(&self.call(&["team", agents, "bench"])?);
        let cells = if together {
            let cell = team(&format!("{other}+keeper"))?;
            [cell.clone(), cell]
        } else {
            [team("keeper+sleeper")?, team(&format!("{other}+sleeper"))?]
        };
        Ok(Neighbour { bench: self, cells })
    }
}

impl Neighbour<'_> {
    /// How long each took, in microseconds.
    fn round_trips(&self) -> Result<Vec<u64>> {
        let cell = &self.cells[0];
        let mut operator = Operator::open(&self.bench.root(), None, std::env::var("USER").ok().as_deref())?;
        let outgoing =
            Outgoing { to: Some(Recipient::Member("agent:keeper".parse()?)), reply_to: None, text: Text::new("hello".to_owned())? };
        let mut took = Vec::new();
        for _ in 0..ROUND_TRIPS {
            let start = Instant::now();
            let (_, fate) = operator.send_and_wait(&cell.to_string(), &outgoing, PATIENCE)?;
            took.push(micros(start.elapsed()));
            match fate {
                Fate::Handled { reply: Some(reply) } => operator.received(cell, &reply)?,
                fate => return Err(format!("not answered: {fate:?}").into()),
            }
        }
        Ok(took)
    }

    /// What is kept of the other's log, once it has written as much as a flood has.
    fn kept(&self, other: &str) -> Result<u64> {
        let cell: PathBuf = self.bench.root().join("cells").join(self.cells[1].to_string());
        let mark = cell.join("home/profiles").join(other).join(MARK);
        wait_for("the flood is one", || Ok(mark.exists().then_some(())))?;
        let size = |name: String| fs::metadata(cell.join("logs").join(name)).map_or(0, |found| found.len());
        Ok(size(format!("{other}.log")) + size(format!("{other}.log.1")))
    }
}

impl Drop for Neighbour<'_> {
    fn drop(&mut self) {
        for cell in &self.cells {
            // Of one cell, the second time finds nothing left to do. A cell that stays is found at the end of the benchmark.
            let _ = self.bench.call(&["destroy", &cell.to_string(), "--force"]);
        }
    }
}
