//! The file: new, current, older, newer, foreign, damaged, planted.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
}

fn open_fails(root: &Path) -> RegistryError {
    Registry::open(root).expect_err("it is no registry")
}

#[test]
fn a_new_registry_is_the_operators_alone() {
    let mut fixture = fixture();
    fixture.propose(1);
    for name in ["registry.db", "registry.db-wal", "registry.db-shm"] {
        assert_eq!(mode(&fixture.root.path().join(name)), 0o600, "{name}");
    }
    // Somebody gave it away: the next command takes it back.
    let path = fixture.root.path().join(FILE_NAME);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("chmod");
    fixture.again();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn every_connection_has_its_settings() {
    let fixture = fixture();
    let connection = &fixture.registry.connection;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("a pragma");
    for (name, value) in [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("cache_size", -256),
        ("secure_delete", 1),
        ("mmap_size", 0),
        ("temp_store", 2),
        ("wal_autocheckpoint", 64),
        ("application_id", i64::from(migrate::APPLICATION_ID)),
        ("user_version", i64::from(SCHEMA_VERSION)),
        ("trusted_schema", 0),
    ] {
        assert_eq!(number(name), value, "{name}");
    }
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a pragma");
    assert_eq!(mode, "wal");
}

#[test]
fn opening_a_current_registry_changes_nothing_and_closing_keeps_the_log() {
    let mut fixture = fixture();
    fixture.propose(1);
    let (root, bytes) = (fixture.root, fixture.registry);
    drop(bytes);
    let contents = || ["registry.db", "registry.db-wal"].map(|name| fs::read(root.path().join(name)).expect("a file"));
    let before = contents();
    assert!(!before[1].is_empty(), "the log was removed by the last one who closed");
    let registry = Registry::open(root.path()).expect("the registry");
    assert_eq!(registry.cells(CellFilter::All).expect("cells").len(), 1);
    drop(registry);
    assert!(contents() == before, "opening and reading wrote something");
}

#[test]
fn the_log_does_not_grow_without_end() {
    let mut fixture = fixture();
    for bits in 0..60 {
        fixture.active(bits);
    }
    let bytes = fs::metadata(fixture.root.path().join("registry.db-wal")).expect("a log").len();
    assert!(bytes < 1024 * 1024, "{bytes} bytes");
}

#[test]
fn each_older_version_is_brought_up_with_its_rows() {
    for version in 1..SCHEMA_VERSION {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(FILE_NAME);
        let connection = Connection::open(&path).expect("a connection");
        migrate::migrate(&connection, &path, version).expect("an older registry");
        connection
            .execute_batch(
                "INSERT INTO cells (cell_id, project, owner, backend, hermes_home, ttl, on_expire, team, throwaway, accept_degraded, created_at,
                    summoner_pid, summoner_start, summoner_boot, state, state_since, expires_at, generation, version)
                 VALUES ('laz-00000001', 'p', 'human:alice', 'wasm', '/h', 1, 'close', 0, 0, 0, 1, 1, 1, 'b', 'active', 1, 2, 1, 2)",
            )
            .expect("a row");
        drop(connection);
        let mut registry = Registry::open(root.path()).expect("brought up");
        assert_eq!(registry.connection().pragma_query_value(None, "user_version", |row| row.get(0)), Ok(SCHEMA_VERSION));
        let cell = CellId::from_bits(1);
        assert_eq!(registry.cell(&cell).expect("readable").map(|record| record.state), Some(State::Active));
        registry.transition(&cell, Event::Rest, "warden", none()).expect("usable");
        registry.audit_verify(None).expect("whole");
    }
}

#[test]
fn the_log_of_an_older_version_goes_over_row_by_row() {
    /// The last version before more could be audited, and the first afterwards.
    const BEFORE: u32 = 4;
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join(FILE_NAME);
    let connection = Connection::open(&path).expect("a connection");
    migrate::migrate(&connection, &path, BEFORE).expect("an older registry");
    let mut head = crate::audit::Head::EMPTY;
    for number in 0..300 {
        let draft = crate::audit::Draft::new("human:alice", Action::Send, Phase::Done, Some(&CellId::from_bits(number)), "ß");
        let entry = audit_log::append(&connection, draft, Utc::now()).expect("stored");
        head = crate::audit::Head { seq: entry.seq, hash: entry.hash };
    }
    drop(connection);
    let mut registry = Registry::open(root.path()).expect("brought up");
    assert_eq!(registry.audit_verify(Some(head)).expect("whole"), head);
    registry.audit(crate::audit::Draft::new("human:bob", Action::Join, Phase::Done, None, "new")).expect("stored");
    assert_eq!(registry.audit_verify(Some(head)).expect("whole").seq, 301);
    let connection = raw(root.path());
    for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        let error = connection.execute_batch(sql).expect_err(sql);
        assert!(error.to_string().contains("audit rows are never"), "{error}");
    }
    let left: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%anew%'", [], |row| row.get(0)).expect("a count");
    assert_eq!(left, 0);
}

#[test]
fn a_newer_schema_is_refused_by_name() {
    let fixture = fixture();
    raw(fixture.root.path()).execute_batch("PRAGMA user_version = 99").expect("newer");
    let error = open_fails(fixture.root.path());
    assert!(matches!(error, RegistryError::Newer { found: 99, known: SCHEMA_VERSION, .. }), "{error}");
    let text = error.to_string();
    for part in ["99", &SCHEMA_VERSION.to_string(), "newer Lazarus"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_foreign_file_is_refused_and_not_touched() {
    for sql in ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 4; CREATE TABLE theirs (x)"] {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(FILE_NAME);
        Connection::open(&path).expect("a connection").execute_batch(sql).expect("a foreign file");
        let before = fs::read(&path).expect("bytes");
        let error = open_fails(root.path());
        assert!(matches!(error, RegistryError::Foreign(_)), "{sql}: {error}");
        assert!(fs::read(&path).expect("bytes") == before, "{sql}: it was touched");
    }
}

#[test]
fn a_damaged_file_is_an_error_that_says_so() {
    // No SQLite file at all.
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join(FILE_NAME), vec![b'x'; 9000]).expect("a file");
    let error = open_fails(root.path());
    assert!(matches!(error, RegistryError::Damaged { .. }) && error.to_string().contains("damaged"), "{error}");

    // Every page but the first overwritten, part of the schema with them.
    let (root, _) = with_a_cell_and_damage(|pages| pages[4096..].fill(0xa5));
    assert!(matches!(open_fails(root.path()), RegistryError::Damaged { .. }));
}

/// Returns a closed registry with one cell, after something was done to its file's bytes.
fn with_a_cell_and_damage(damage: impl FnOnce(&mut Vec<u8>)) -> (TempDir, CellId) {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    fixture.registry.add_run(&cell, &run("scribe"), "warden").expect("it runs");
    raw(fixture.root.path()).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
    let Fixture { root, registry } = fixture;
    drop(registry);
    let path = root.path().join(FILE_NAME);
    let mut bytes = fs::read(&path).expect("bytes");
    damage(&mut bytes);
    fs::write(&path, bytes).expect("damage");
    (root, cell)
}

#[test]
fn a_damaged_table_is_an_error_that_says_so() {
    type Read = fn(&mut Registry, &CellId) -> Option<RegistryError>;
    let reads: [(&str, Read); 4] = [
        ("cells", |registry, _| registry.cells(CellFilter::All).err()),
        ("members", |registry, cell| registry.cell(cell).err()),
        ("runs", |registry, cell| {
            registry.end_run(cell, &"scribe".parse().ok()?, &RunEnd { at: Utc::now(), well: true, how: String::new() }, "warden").err()
        }),
        ("audit", |registry, cell| registry.transition(cell, Event::Rest, "warden", none()).err()),
    ];
    let whole = fixture();
    for (table, read) in reads {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let page: u32 = whole.registry.connection.query_row(sql, [table], |row| row.get(0)).expect("a page");
        let page = page as usize;
        let (root, cell) = with_a_cell_and_damage(|bytes| bytes[(page - 1) * 4096..page * 4096].fill(0xa5));
        let mut registry = Registry::open(root.path()).expect("its schema is whole");
        let error = read(&mut registry, &cell).unwrap_or_else(|| panic!("{table} was read"));
        assert!(matches!(error, RegistryError::Damaged { .. }), "{table}: {error}");
    }
}

#[test]
fn a_damaged_write_ahead_log_loses_its_end_and_no_more() {
    let mut fixture = fixture();
    raw(fixture.root.path()).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
    fixture.propose(1);
    fixture.propose(2);
    let root = fixture.root;
    drop(fixture.registry);
    // The machine lost power in the middle of a write.
    let wal = root.path().join("registry.db-wal");
    let bytes = fs::read(&wal).expect("bytes");
    fs::write(&wal, &bytes[..bytes.len() - 2000]).expect("a torn write");
    let registry = Registry::open(root.path()).expect("the registry");
    assert_eq!(registry.cells(CellFilter::All).expect("cells").len(), 1);
    assert_eq!(registry.audit_verify(None).expect("whole").seq, 1);
}

#[test]
fn what_is_planted_in_its_place_is_not_opened() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let canary = elsewhere.path().join("canary");
    fs::write(&canary, "").expect("a canary");
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join(FILE_NAME);
    std::os::unix::fs::symlink(&canary, &path).expect("a link");
    assert!(matches!(open_fails(root.path()), RegistryError::NotAFile(_)));
    assert_eq!(fs::metadata(&canary).expect("the canary").len(), 0);
    fs::remove_file(&path).expect("no link");
    fs::create_dir(&path).expect("a directory");
    assert!(matches!(open_fails(root.path()), RegistryError::NotAFile(_)));
    assert!(matches!(open_fails(&root.path().join("absent")), RegistryError::Prepare { .. }));
}

#[test]
fn a_read_only_registry_and_a_full_disk_say_so_and_change_nothing() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let before = fixture.registry.cell(&cell).expect("readable");

    // As full as SQLite can be made without a file system of its own: no page more.
    fixture.registry.connection().pragma_update(None, "max_page_count", 1).expect("a pragma");
    let mut error = None;
    for bits in 10..400 {
        if let Err(full) = fixture.registry.propose(&proposal(bits), "human:alice") {
            error = Some(full);
            break;
        }
    }
    let error = error.expect("full");
    assert!(matches!(error, RegistryError::Full { .. }) && error.to_string().contains("disk is full"), "{error}");
    assert_eq!(fixture.again().cell(&cell).expect("readable"), before);
    fixture.again().audit_verify(None).expect("whole");

    fixture.registry.connection().pragma_update(None, "query_only", true).expect("a pragma");
    let error = fixture.registry.transition(&cell, Event::Rest, "warden", none()).expect_err("read-only");
    assert!(matches!(error, RegistryError::ReadOnly { .. }), "{error}");
    assert_eq!(fixture.again().cell(&cell).expect("readable"), before);
}

#[test]
fn a_reader_reads() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let reader = fixture.again().into_reader().expect("a reader");
    assert_eq!(reader.cell(&cell).expect("readable"), fixture.registry.cell(&cell).expect("readable"));
    fixture.happens(&cell, Event::Rest);
    assert_eq!(reader.live_cells().expect("readable")[0].state, State::Idle);
    assert!(reader.connection.execute("UPDATE cells SET project = 'x'", []).is_err());
}
