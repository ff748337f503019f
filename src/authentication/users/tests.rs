//! Users of a file, with hashes that htpasswd and the reference implementation of argon2 have made.

use std::cell::Cell;

use prometheus::Registry;

use super::basic::Credentials;
use super::*;
use crate::bounds::{PASSWORD_CHECKS, PASSWORD_WAITING};

/// `htpasswd -nbB -C 4 edge 'pass word £4'` (apache2-utils 2.4.71).
const EDGE: &str = "edge:$2y$04$DADQjQLkqm2ILHDUJE6Wwuyxt4nAe.EApQypAfe5MahEntkFeRQ96";
/// "password" with the salt "somesalt" (phc-winner-argon2, test.c).
const ARGON: &str = "argon:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
const WRONG: Unverified = Unverified::Invalid("has a name or a password that is wrong: send those of a user");

fn users(lines: &[&str]) -> Users {
    Users::parse(lines.join("\n").as_bytes()).expect("users")
}

fn who(checked: Result<Checked, Unverified>) -> Result<String, Unverified> {
    checked.map(|checked| checked.verified.name)
}

fn credentials(name: &str, password: &str) -> Credentials {
    Credentials { name: name.to_owned(), password: password.to_owned() }
}

fn passwords(lines: &[&str]) -> Passwords {
    Passwords::new(users(lines), Metrics::register(&Registry::new()).expect("metrics"))
}

#[test]
fn a_password_shows_who_it_is() {
    let edge = EDGE.replace("$2y$", "$2a$").replace("edge:", "a:");
    let users = users(&["# users", "", EDGE, &format!("  {ARGON}\r"), &edge, &edge.replace("a:$2a$", "b:$2b$")]);
    assert_eq!(users.len(), 4);
    for (name, password, expected) in [
        ("edge", "pass word £4", Ok("edge")),
        ("a", "pass word £4", Ok("a")),
        ("b", "pass word £4", Ok("b")),
        ("argon", "password", Ok("argon")),
        ("argon", "Password", Err(WRONG)),
        ("edge", "pass word £5", Err(WRONG)),
        ("edge", "", Err(WRONG)),
        ("Edge", "pass word £4", Err(WRONG)),
        ("", "", Err(WRONG)),
    ] {
        let verified = who(users.verify(name, password, || ()));
        assert_eq!(verified, expected.map(str::to_owned), "{name} {password}");
    }
}

/// Also where somebody has the password that it is sent with.
#[test]
fn an_unknown_user_costs_one_hash_as_a_known_one_does_and_is_refused() {
    let users = users(&[EDGE, &EDGE.replace("edge", "other")]);
    let hashes = Cell::new(0);
    for name in ["edge", "other", "nobody", "someone", ""] {
        for password in ["pass word £4", "wrong"] {
            hashes.set(0);
            let known = name == "edge" || name == "other";
            let verified = users.verify(name, password, || hashes.set(hashes.get() + 1));
            assert_eq!(verified.is_ok(), known && password != "wrong", "{name} {password}");
            assert_eq!(hashes.get(), 1, "{name} {password}");
        }
    }
    assert_eq!(who(Users::default().verify("edge", "wrong", || panic!("there is no hash"))), Err(WRONG));
}

/// Of the hashes in a file each stands in for as many unknown names, and a name keeps its own, also in the next file.
#[test]
fn unknown_names_are_spread_over_the_hashes_of_the_file() {
    let lines: Vec<_> = (0..4).map(|n| EDGE.replace("edge", &format!("user{n}"))).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let before = users(&lines);
    let mut next = users(&lines);
    next.continue_from(&before);
    let mut seen = [0; 4];
    for n in 0..4000 {
        let name = format!("nobody{n}");
        let stand_in = before.stand_in(&name).expect("there is one");
        let place = before.entries.iter().position(|entry| entry == stand_in).expect("it is there");
        assert_eq!(before.stand_in(&name), Some(stand_in));
        assert_eq!(next.stand_in(&name), Some(stand_in));
        seen[place] += 1;
    }
    assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
}

#[test]
fn a_bad_line_is_named_with_the_remedy_and_no_hash_is_shown() {
    let hash = &EDGE["edge:".len()..];
    let argon = &ARGON["argon:".len()..];
    let other = "line 1: its password is not hashed with bcrypt or argon2id: set it anew with htpasswd -B";
    for (file, expected) in [
        // What htpasswd -m, -s, -d, -2 and -p make.
        ("u:$apr1$UEgwsieH$wvz.Smp9CkTQ2axhNJ1bb1".to_owned(), other),
        ("u:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".to_owned(), other),
        ("u:t0pKf0aBv7sR.".to_owned(), other),
        ("u:$5$ouenys77HC3cQdnF$.F2pQcA3ZW122Yahx/RKvIaN//pol3yZBgF7oU/4Gl9".to_owned(), other),
        ("u:secret".to_owned(), other),
        ("u:".to_owned(), other),
        (format!("u:{}", hash.replace("$2y$", "$2x$")), other),
        (format!("u:{}", argon.replace("argon2id", "argon2i")), other),
        (format!("\n{hash}"), "line 2: it has no colon"),
        (format!(":{hash}"), "line 1: it has no name"),
        (format!("a b:{hash}"), "line 1: the name has other characters"),
        (format!("{}:{hash}", "a".repeat(254)), "line 1: the name has other characters"),
        (format!("u:{}", &hash[..59]), "line 1: its bcrypt hash is damaged"),
        (format!("u:{hash}:comment"), "line 1: its bcrypt hash is damaged"),
        (format!("u:{}", hash.replace("$04$", "$xx$")), "line 1: its bcrypt hash is damaged"),
        (format!("u:{}", hash.replace("$04$", "$15$")), "line 1: its bcrypt cost is above 14"),
        (format!("u:{}", hash.replace("$04$", "$03$")), "line 1: its bcrypt cost is below 4"),
        (format!("u:{}", argon.replace("m=256", "m=65537")), "line 1: its argon2id hash takes more than m=65536"),
        (format!("u:{}", argon.replace("t=2", "t=11")), "line 1: its argon2id hash takes more than t=10"),
        (format!("u:{}", argon.replace("m=256", "m=4")), "line 1: its argon2id hash is damaged"),
        (format!("u:{}", argon.replace("$v=19", "")), "line 1: its argon2id hash is damaged"),
        (format!("u:{}", argon.replace("$v=19", "$v=16")), "line 1: its argon2id hash is damaged"),
        (format!("u:{}", argon.rsplit_once('$').expect("parts").0), "line 1: its argon2id hash is damaged"),
        (format!("{EDGE}\n#\n{EDGE}"), "line 3: line 1 has the same name"),
    ] {
        let error = Users::parse(file.as_bytes()).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("DADQ") && !error.contains("secret"), "{error}");
    }
    assert_eq!(Users::parse(b"#\xff").expect_err("no text"), InvalidUsers::NotUtf8(1));
    assert_eq!(format!("{:?}", users(&[EDGE, ARGON])), "Users { len: 2, .. }");
    let many: Vec<_> = (0..=ACCESS_USERS).map(|n| EDGE.replace("edge", &n.to_string())).collect();
    assert_eq!(Users::parse(many.join("\n").as_bytes()).expect_err("one too many"), InvalidUsers::TooMany);
}

#[tokio::test]
async fn a_verdict_holds_until_its_user_is_gone_or_has_another_password() {
    let passwords = passwords(&[EDGE, ARGON, &EDGE.replace("edge", "gone")]);
    let check = async |name, password| passwords.check(credentials(name, password)).await.expect("it is right");
    let edge = check("edge", "pass word £4").await;
    let argon = check("argon", "password").await;
    let gone = check("gone", "pass word £4").await;
    // The same line elsewhere, and another hash of "password" for argon.
    let anew = "argon:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    passwords.replace(users(&[anew, "#", EDGE]));
    assert_eq!([&edge, &argon, &gone].map(|checked| passwords.is_current(checked)), [true, false, false]);
    assert_eq!(format!("{:?}", edge.entry), "Entry { .. }");
    // Back again, it is another one: what was withdrawn stays so.
    passwords.replace(users(&[ARGON, EDGE]));
    assert_eq!([&edge, &argon].map(|checked| passwords.is_current(checked)), [true, false]);
    assert!(passwords.is_current(&check("argon", "password").await));
    assert_eq!(who(passwords.check(credentials("gone", "pass word £4")).await), Err(WRONG));
    assert_eq!(passwords.metrics.hashed.get(), 5);
    assert_eq!(passwords.metrics.users.get(), 2);
}

#[tokio::test]
async fn few_are_checked_at_once_and_not_many_wait() {
    let passwords = passwords(&[EDGE]);
    let busy = Arc::clone(&passwords.checks).acquire_many_owned(u32::try_from(PASSWORD_CHECKS).expect("few"));
    let busy = busy.await.expect("it is open");
    let mut waiting: Vec<_> = (0..PASSWORD_CHECKS + PASSWORD_WAITING)
        .map(|_| Box::pin(passwords.check(credentials("edge", "pass word £4"))))
        .collect();
    for check in &mut waiting {
        assert!(futures::poll!(check).is_pending());
    }
    let over = passwords.check(credentials("edge", "pass word £4")).await;
    assert_eq!(over, Err(Unverified::Unavailable("too many passwords wait to be checked".to_owned())));
    assert_eq!(passwords.metrics.unchecked.get(), 1);
    // Who leaves makes room.
    waiting.truncate(1);
    let mut late = Box::pin(passwords.check(credentials("edge", "pass word £4")));
    assert!(futures::poll!(&mut late).is_pending());
    drop(busy);
    assert_eq!(who(waiting.remove(0).await).as_deref(), Ok("edge"));
    assert_eq!(who(late.await).as_deref(), Ok("edge"));
    assert_eq!(passwords.metrics.hashed.get(), 2);
}
