//! The core beside a plain reference, over random schedules; and the cases that people ask about.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{PublishRate, Topic, TopicHistory};
use crate::topic::message::Data;

fn config(history: TopicHistory) -> Topic {
    let rate = PublishRate { per_second: 1000, burst: 1000 };
    Topic { history, rate, ..Topic::example("chat") }
}

fn plenty() -> TopicHistory {
    TopicHistory { messages: 1000, bytes: 1 << 20, age: Duration::from_hours(1) }
}

#[expect(clippy::disallowed_methods, reason = "where the clock of a test begins")]
fn began() -> Instant {
    Instant::now()
}

fn text(client: &str, key: Option<&str>, text: &str) -> Publication {
    let once = key.map(|key| (key.into(), *blake3::hash(text.as_bytes()).as_bytes()));
    let draft = Draft { media_type: "text/plain".into(), by: None, data: Data::Text(text.to_owned()) };
    Publication { client: client.into(), once, draft, bytes: 1 }
}

/// Publishes as a backend does that stores at once.
fn publish(core: &mut Core, publication: Publication, now: Instant) -> Result<Published, Refused> {
    match core.take(publication, now, &at())? {
        Taken::Known(receipt) => Ok(Published { receipt, is_repeated: true }),
        Taken::New(entry) => Ok(Published { receipt: core.append(core.last() + 1, entry, now), is_repeated: false }),
    }
}

fn at() -> Arc<str> {
    "2026-11-30T12:00:00.000Z".into()
}

fn at_place(offset: u64) -> Place {
    Place { read: Epoch::of(1).at(offset), gap: None }
}

fn texts(core: &Core, offset: u64) -> Vec<String> {
    let of = |message: &Arc<Message>| {
        let json: serde_json::Value = serde_json::from_slice(message.json()).expect("JSON");
        json["data"].as_str().expect("a text").to_owned()
    };
    core.after(offset).map(of).collect()
}

#[test]
fn messages_have_offsets_without_gaps_and_readers_get_what_follows_theirs() {
    let (mut core, now) = (Core::new(&config(plenty()), Epoch::of(1), 0), began());
    assert_eq!(core.extent(now).first, Epoch::of(1).at(1));
    assert_eq!(core.extent(now).last, Epoch::of(1).at(0));
    for (at_offset, word) in ["a", "b", "c"].iter().enumerate() {
        let published = publish(&mut core, text("x", None, word), now).expect("published");
        assert_eq!(published.receipt.id, Epoch::of(1).at(at_offset as u64 + 1));
    }
    for (start, offset) in [
        (Start::Tail(2), 1),
        (Start::Tail(9), 0),
        (Start::Tail(0), 3),
        (Start::Earliest, 0),
        (Start::Latest, 3),
        (Start::Since("0000000000000001.0".into()), 0),
        (Start::Since("0000000000000001.3".into()), 3),
    ] {
        assert_eq!(core.start(&start, now), Place { read: Epoch::of(1).at(offset), gap: None }, "{start:?}");
    }
    assert_eq!(
        (texts(&core, 0), texts(&core, 2), texts(&core, 3)),
        (vec!["a".into(), "b".into(), "c".into()], vec!["c".into()], vec![])
    );
}

#[test]
fn who_has_missed_messages_is_told_how_many() {
    let few = TopicHistory { messages: 2, ..plenty() };
    let (mut core, now) = (Core::new(&config(few), Epoch::of(1), 0), began());
    for word in ["a", "b", "c", "d", "e"] {
        publish(&mut core, text("x", None, word), now).expect("published");
    }
    let first = Epoch::of(1).at(4);
    for (since, offset, missed) in [
        ("0000000000000001.0", 3, Some(Some(3))),
        ("0000000000000001.2", 3, Some(Some(1))),
        ("0000000000000001.3", 3, None),
        ("0000000000000001.5", 5, None),
        // Nobody was given this one.
        ("0000000000000001.6", 5, Some(Some(0))),
        // Of another history, or no id at all.
        ("0000000000000002.5", 3, Some(None)),
        ("yesterday", 3, Some(None)),
    ] {
        let place = core.start(&Start::Since(since.into()), now);
        let gap = missed.map(|missed| Gap { since: since.into(), first, missed });
        assert_eq!(place, Place { read: Epoch::of(1).at(offset), gap }, "{since}");
    }
    assert_eq!(core.resume(at_place(1), now).gap.and_then(|gap| gap.missed), Some(2), "a reader that was too slow");
    assert_eq!(core.resume(at_place(3), now).gap, None);
}

#[test]
fn who_has_read_another_history_is_told_so_wherever_it_is() {
    let (mut core, now) = (Core::new(&config(plenty()), Epoch::of(1), 0), began());
    for word in ["a", "b", "c"] {
        publish(&mut core, text("x", Some(word), word), now).expect("published");
    }
    let gap = |since: &str, first, missed| Some(Gap { since: since.into(), first, missed });
    // Some were never here: the history goes on.
    core.begin(Epoch::of(1).at(10));
    assert_eq!(core.resume(at_place(3), now).gap, gap("0000000000000001.3", Epoch::of(1).at(11), Some(7)));
    assert!(core.known(&Key::of("x", "a"), now).is_some(), "what was published stays so");
    // Another one begins, and is shorter.
    core.begin(Epoch::of(2).at(1));
    let first = Epoch::of(2).at(2);
    for read in [at_place(10), at_place(1)] {
        let since = read.read.to_string();
        let resumed = core.resume(read, now);
        assert_eq!(resumed, Place { read: Epoch::of(2).at(1), gap: gap(&since, first, None) });
    }
    let before = Place { gap: gap("yesterday", Epoch::of(1).at(1), None), ..at_place(2) };
    assert_eq!(core.resume(before, now).gap, gap("yesterday", first, None), "it asked with that");
    assert_eq!(core.known(&Key::of("x", "a"), now), None);
    assert_eq!(publish(&mut core, text("x", Some("a"), "a"), now).expect("published").receipt.id, first);
}

#[test]
fn messages_go_when_they_are_too_old_or_too_many_bytes() {
    let (age, start) = (Duration::from_secs(10), began());
    let mut core = Core::new(&config(TopicHistory { age, ..plenty() }), Epoch::of(1), 0);
    publish(&mut core, text("x", None, "a"), start).expect("published");
    publish(&mut core, text("x", None, "b"), start + age / 2).expect("published");
    assert_eq!(core.extent(start + age).messages, 2);
    let later = core.extent(start + age + Duration::from_millis(1));
    assert_eq!((later.messages, later.first.offset, later.last.offset), (1, 2, 2));
    let empty = core.extent(start + 2 * age);
    assert_eq!((empty.messages, empty.bytes, empty.first.offset, empty.last.offset), (0, 0, 3, 2));

    let mut core = Core::new(&config(TopicHistory { bytes: 1024, ..plenty() }), Epoch::of(1), 0);
    for _ in 0..10 {
        publish(&mut core, text("x", None, &"y".repeat(300)), start).expect("published");
    }
    let extent = core.extent(start);
    assert!(extent.messages == 2 && extent.bytes <= 1024, "{extent:?}");
    publish(&mut core, text("x", None, &"y".repeat(2000)), start).expect("published");
    assert_eq!(core.extent(start).messages, 1, "the newest is kept, however long it is");
}

#[test]
fn a_key_is_published_once_for_as_long_as_it_is_known() {
    let (mut core, now) = (Core::new(&config(plenty()), Epoch::of(1), 0), began());
    let first = publish(&mut core, text("x", Some("k"), "a"), now).expect("published");
    let again = publish(&mut core, text("x", Some("k"), "a"), now + Duration::from_secs(119)).expect("known");
    assert_eq!((again.is_repeated, again.receipt), (true, first.receipt));
    assert_eq!(publish(&mut core, text("x", Some("k"), "b"), now), Err(Refused::KeyReused));
    let other = publish(&mut core, text("y", Some("k"), "b"), now).expect("another client's");
    assert!(!other.is_repeated);
    let later = publish(&mut core, text("x", Some("k"), "b"), now + Duration::from_secs(120)).expect("forgotten");
    assert!(!later.is_repeated);
}

#[test]
fn a_key_is_under_way_until_its_message_is_stored_or_is_not() {
    let (mut core, now) = (Core::new(&config(plenty()), Epoch::of(1), 0), began());
    let take = |core: &mut Core, word| core.take(text("x", Some("k"), word), now, &at());
    let Ok(Taken::New(first)) = take(&mut core, "a") else { panic!("it is new") };
    assert_eq!(core.extent(now).last.offset, 0, "nobody is shown it");
    assert_eq!(take(&mut core, "a").expect_err("it is being stored"), Refused::KeyUnderWay);
    assert_eq!(take(&mut core, "b").expect_err("another one"), Refused::KeyReused);
    core.give_up(&first);
    let Ok(Taken::New(again)) = take(&mut core, "b") else { panic!("the key is free") };
    let receipt = core.append(1, again, now);
    assert!(matches!(take(&mut core, "b"), Ok(Taken::Known(known)) if known == receipt));
    assert_eq!(texts(&core, 0), ["b"]);
}

#[test]
fn a_client_publishes_a_burst_and_then_at_its_rate() {
    let rate = PublishRate { per_second: 10, burst: 3 };
    let (mut core, now) = (Core::new(&Topic { rate, ..config(plenty()) }, Epoch::of(1), 0), began());
    let mut publishes = |client: &str, millis: u64| {
        let key = (client == "keyed").then_some("k");
        publish(&mut core, text(client, key, "a"), now + Duration::from_millis(millis)).map(|_| ())
    };
    for _ in 0..3 {
        assert_eq!(publishes("x", 0), Ok(()));
    }
    assert_eq!(publishes("x", 40), Err(Refused::TooFast { after: Duration::from_millis(60) }));
    assert_eq!(publishes("y", 40), Ok(()), "each client has its own");
    assert_eq!(publishes("x", 100), Ok(()));
    assert!(publishes("x", 150).is_err());
    for _ in 0..100 {
        assert_eq!(publishes("keyed", 0), Ok(()), "a repeated message costs no rate");
    }
}

#[test]
fn a_change_holds_from_now_on_and_drops_only_what_a_smaller_history_has_no_room_for() {
    let (mut core, now) = (Core::new(&config(plenty()), Epoch::of(1), 0), began());
    for word in ["a", "b", "c"] {
        publish(&mut core, text("x", Some(word), word), now).expect("published");
    }
    core.change(&config(TopicHistory { messages: 5000, ..plenty() }));
    assert_eq!((core.extent(now).messages, core.extent(now).first.offset), (3, 1));
    let few = Topic { dedupe: Duration::from_secs(5), ..config(TopicHistory { messages: 2, ..plenty() }) };
    core.change(&Topic { rate: PublishRate { per_second: 10, burst: 1 }, ..few });
    assert_eq!((core.extent(now).messages, core.extent(now).first.offset), (2, 2));
    let again = publish(&mut core, text("x", Some("a"), "a"), now + Duration::from_secs(4)).expect("known");
    assert!(again.is_repeated, "keys are known still");
    let later = now + Duration::from_secs(5);
    assert!(!publish(&mut core, text("x", Some("a"), "a"), later).expect("forgotten").is_repeated);
    let too_fast = Refused::TooFast { after: Duration::from_millis(100) };
    assert_eq!(publish(&mut core, text("x", None, "d"), later), Err(too_fast));
}

/// What somebody does.
#[derive(Debug, Clone)]
enum Act {
    Publish { client: u8, key: Option<u8>, word: u8 },
    Wait(u16),
    Read(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u8, prop::option::of(0..4_u8), 0..3_u8).prop_map(|(client, key, word)| Act::Publish { client, key, word }),
        2 => (0..4000_u16).prop_map(Act::Wait),
        4 => (0..4_u8).prop_map(Act::Read),
    ]
}

proptest! {
    /// Every reader is given every message once and in order, or told how many it has missed; a key is published once.
    #[test]
    fn nothing_is_lost_without_a_word(acts in prop::collection::vec(act(), 1..200), messages in 1..6_usize) {
        let history = TopicHistory { messages, bytes: 1 << 20, age: Duration::from_secs(20) };
        let dedupe = Duration::from_secs(5);
        let (mut core, mut now) = (Core::new(&Topic { dedupe, ..config(history) }, Epoch::of(9), 0), began());
        // The reference: all messages, and when each key was used for which.
        let mut all: Vec<String> = Vec::new();
        let mut keys: Vec<(u8, u8, u8, u64, Instant)> = Vec::new();
        let mut readers = [0_u64; 4];
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Wait(millis) => now += Duration::from_millis(millis.into()),
                Act::Publish { client, key, word } => {
                    let body = key.map_or_else(|| number.to_string(), |_| word.to_string());
                    let key_text = key.map(|key| key.to_string());
                    let met = publish(&mut core, text(&client.to_string(), key_text.as_deref(), &body), now);
                    let known = key.and_then(|key| keys.iter().find(|known| (known.0, known.1) == (client, key) && now < known.4 + dedupe));
                    match (known, met) {
                        (Some(known), Ok(published)) => {
                            prop_assert!(published.is_repeated && known.2 == word);
                            prop_assert_eq!(published.receipt.id.offset, known.3);
                        }
                        (Some(known), Err(refused)) => {
                            prop_assert_eq!(refused, Refused::KeyReused);
                            prop_assert!(known.2 != word);
                        }
                        (None, Ok(published)) => {
                            all.push(body);
                            prop_assert!(!published.is_repeated);
                            prop_assert_eq!(published.receipt.id, Epoch::of(9).at(all.len() as u64));
                            if let Some(key) = key {
                                keys.retain(|known| (known.0, known.1) != (client, key));
                                keys.push((client, key, word, all.len() as u64, now));
                            }
                        }
                        (None, Err(refused)) => prop_assert!(false, "{refused:?}"),
                    }
                }
                Act::Read(reader) => {
                    let read = &mut readers[usize::from(reader)];
                    let Place { read: MessageId { offset, .. }, gap } =
                        core.start(&Start::Since(Epoch::of(9).at(*read).to_string().into()), now);
                    prop_assert_eq!(gap.as_ref().and_then(|gap| gap.missed), (offset > *read).then_some(offset - *read));
                    let found = texts(&core, offset);
                    prop_assert_eq!(&found[..], &all[usize::try_from(offset).expect("few")..]);
                    *read = all.len() as u64;
                }
            }
            let extent = core.extent(now);
            prop_assert!(extent.messages <= messages);
            prop_assert_eq!(extent.last.offset, all.len() as u64);
            prop_assert_eq!(extent.first.offset + extent.messages as u64, all.len() as u64 + 1);
        }
    }
}
