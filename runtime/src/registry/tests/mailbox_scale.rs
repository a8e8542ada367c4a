//! Many messages: the queries step through their indexes, and a crowd is written to in one commit.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    mail::{Draft, MessageId, Text},
    registry::mailbox::{
        queue::{NEXT_OF_SENDER, NEXT_RECEIVER, NEXT_RETRY, NEXT_SENDER},
        read::{COUNTS, history_sql, inbox_sql},
    },
};

/// Far more than each of these takes, also on a busy machine without optimisation. The plans are the sharper test.
const QUICK: Duration = Duration::from_secs(5);

#[test]
fn the_mailboxs_queries_use_their_indexes() {
    let fixture = fixture();
    let connection = &fixture.registry.connection;
    let queries = [
        (NEXT_SENDER.to_owned(), "messages_waiting (cell_id=? AND receiver=? AND sender>?)"),
        (NEXT_OF_SENDER.to_owned(), "messages_waiting (cell_id=? AND receiver=? AND sender=? AND "),
        (NEXT_RECEIVER.to_owned(), "messages_waiting (cell_id=? AND receiver>?)"),
        (NEXT_RETRY.to_owned(), "messages_retrying (cell_id=? AND not_before>?)"),
        (COUNTS.to_owned(), "messages_waiting (cell_id=?)"),
        (history_sql(), "messages_of_cell (cell_id=? AND place>?)"),
        (inbox_sql(true, InboxFilter::Waiting), "messages_waiting (cell_id=? AND receiver=?)"),
        (inbox_sql(false, InboxFilter::Waiting), "messages_waiting (cell_id=?)"),
        (inbox_sql(true, InboxFilter::Parked), "messages_settled (cell_id=? AND state=?"),
        (inbox_sql(false, InboxFilter::All), "messages_of_cell (cell_id=?)"),
    ];
    for (sql, index) in queries {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
        let parameters = explain.parameter_count();
        let rows = explain.query_map(rusqlite::params_from_iter(vec![0; parameters]), |row| row.get::<_, String>(3)).expect("a plan");
        let plan: Vec<String> = rows.collect::<Result<_, _>>().expect("a plan");
        assert!(plan.iter().any(|step| step.contains(index)), "{sql}: {plan:?}");
        assert!(!plan.iter().any(|step| step.contains("SCAN messages")), "{sql}: {plan:?}");
        let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(!sorts || sql.contains("INDEXED BY messages_waiting") || sql.contains("INDEXED BY messages_settled"), "{sql}: {plan:?}");
    }
}

fn draft(sender: &str, receiver: &str) -> Draft {
    let text = Text::new("hello".into()).expect("a text");
    let identity = |text: &str| text.parse().expect("an identity");
    Draft { id: MessageId::random(), sender: identity(sender), receiver: identity(receiver), text, in_reply_to: None }
}

#[test]
fn a_hundred_thousand_waiting_messages_slow_nobody_down() {
    let mut fixture = fixture();
    let cell = fixture.active(1);
    let connection = fixture.registry.connection();
    // 50,000 of one sender to one receiver, the first of which waits for its retry; and 500 for each of 100 others.
    let flood = |sender: &str, receiver: &str, from: u32, to: u32| {
        let sql = format!(
            "WITH RECURSIVE n(x) AS (SELECT {from} UNION ALL SELECT x + 1 FROM n WHERE x < {to})
            INSERT INTO messages (cell_id, message_id, sender, receiver, sent_at, state, failures, not_before, why, text)
            SELECT '{cell}', printf('msg-%032x', x), {sender}, {receiver}, 1, 'waiting', 0,
                iif(x = {from} AND {from} = 0, 9000000000000000, NULL), iif(x = {from} AND {from} = 0, 'x', NULL), 'x' FROM n"
        );
        connection.execute_batch(&sql).expect("filled");
    };
    flood("'agent:flood'", "'agent:scribe'", 0, 49_999);
    flood("'agent:flood'", "printf('agent:a%d', x % 100)", 50_000, 99_999);
    let calm = draft("human:alice", "agent:scribe");
    fixture.registry.accept(&cell, std::slice::from_ref(&calm), 100_000, "human:alice").expect("accepted");

    let since = Instant::now();
    let (scribe, flood) = ("agent:scribe".parse().expect("an identity"), "agent:flood".parse().expect("an identity"));
    for after in [None, Some(&flood), Some(&scribe)] {
        for _ in 0..10 {
            let next = fixture.registry.next_message(&cell, &scribe, Utc::now(), &[], after).expect("readable").expect("a message");
            assert_eq!(next.id, calm.id);
            assert_eq!(fixture.registry.receivers_waiting(&cell, Utc::now()).expect("readable").len(), 101);
        }
    }
    assert_eq!(fixture.registry.next_message(&cell, &scribe, Utc::now(), &[calm.id], None).expect("readable"), None);
    assert!(since.elapsed() < QUICK, "{:?}", since.elapsed());
    assert_eq!(fixture.registry.mail_counts(&cell).expect("counted").waiting, 100_001);
}

#[test]
fn a_thousand_are_written_to_in_one_commit() {
    let mut fixture = fixture();
    let mut crowd = proposal(1);
    crowd.members.extend((0..1000).map(|number| member(&format!("agent:a{number}"), Role::Executor)));
    let cell = fixture.registry.propose(&crowd, "human:alice").expect("a crowd").proposal.cell_id;
    fixture.happens(&cell, Event::Ready);
    let drafts: Vec<Draft> = (0..1000).map(|number| draft("human:alice", &format!("agent:a{number}"))).collect();
    let since = Instant::now();
    assert_eq!(fixture.registry.accept(&cell, &drafts, 10, "human:alice").expect("accepted").len(), 1000);
    let accepted = since.elapsed();
    let receivers = fixture.registry.receivers_waiting(&cell, Utc::now()).expect("readable");
    assert_eq!(receivers.len(), 1000);
    let looked = since.elapsed();
    let ends: Vec<(Identity, Settlement)> = receivers
        .into_iter()
        .map(|receiver| {
            let next = fixture.registry.next_message(&cell, &receiver, Utc::now(), &[], None).expect("readable").expect("a message");
            let answer = Draft { in_reply_to: Some(next.id.clone()), ..draft(&receiver.to_string(), "human:alice") };
            (receiver, Settlement { handled: vec![next.id], sent: vec![answer], ..Settlement::default() })
        })
        .collect();
    let ends: Vec<(&Identity, &Settlement)> = ends.iter().map(|(receiver, settlement)| (receiver, settlement)).collect();
    let answers = fixture.registry.settle_many(&cell, &ends, "warden").expect("settled");
    assert!(answers.len() == 1000 && answers.iter().all(|sent| sent.len() == 1));
    assert!(since.elapsed() < QUICK, "accepted {accepted:?}, looked {looked:?}, settled {:?}", since.elapsed());
    assert_eq!(fixture.registry.mail_counts(&cell).expect("counted"), MailCounts { waiting: 1000, parked: 0 });
    fixture.registry.audit_verify(None).expect("whole");
}
