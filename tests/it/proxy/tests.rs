//! The proxy itself, in front of a plain echo and of MariaDB's COMMIT.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use super::packets::{Packets, Piece};
use super::{Fault, Kind, LostCommit, Proxy, Towards};
use crate::servers::{Database, Kind as ServerKind, Server};

/// A server that says back what it hears. It ends with the test process.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            thread::spawn(move || {
                let mut chunk = [0; 1024];
                while let Ok(read @ 1..) = client.read(&mut chunk) {
                    if client.write_all(&chunk[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client
}

/// Says it and hears it back.
fn hears(client: &mut TcpStream, word: &[u8]) {
    client.write_all(word).unwrap();
    let mut back = vec![0; word.len()];
    client.read_exact(&mut back).unwrap();
    assert_eq!(back, word);
}

/// What still comes until the connection ends.
fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset is an end too.
    let _ = client.read_to_end(&mut heard);
    heard
}

#[test]
fn what_goes_in_comes_out_and_both_ends_are_told_of() {
    let proxy = Proxy::start(echo());
    let mut client = connect(&proxy);
    let long: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    let mut sender = client.try_clone().unwrap();
    let sent = long.clone();
    let sending = thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(rest(&mut client), long);
    sending.join().unwrap();
    assert!(proxy.counts().is_empty(), "{:?}", proxy.counts());
}

#[test]
fn open_connections_are_dropped_and_new_ones_work() {
    let proxy = Proxy::start(echo());
    let mut clients = [connect(&proxy), connect(&proxy)];
    clients.iter_mut().for_each(|client| hears(client, b"one"));
    assert_eq!(proxy.drop_connections(), 2);
    clients.iter_mut().for_each(|client| assert_eq!(rest(client), b""));
    assert_eq!((proxy.count(Kind::Dropped), proxy.drop_connections()), (2, 0));
    hears(&mut connect(&proxy), b"two");
}

#[test]
fn a_connection_is_cut_in_the_middle_once() {
    let proxy = Proxy::start(echo());
    for (towards, kind) in [(Towards::Server, Kind::HalfSent), (Towards::Client, Kind::HalfAnswered)] {
        proxy.arm(Fault::CutAfter(towards, 4));
        let mut client = connect(&proxy);
        hears(&mut client, b"ab");
        assert_eq!(proxy.count(kind), 0, "it has not happened yet");
        client.write_all(b"cdef").unwrap();
        let heard = rest(&mut client);
        assert!(heard.len() <= 2 && b"cd".starts_with(&heard), "{heard:?}");
        assert_eq!(proxy.count(kind), 1);
        hears(&mut connect(&proxy), b"whole again");
    }
}

#[test]
fn a_cut_waits_for_a_connection_that_lives_long_enough_and_a_healed_one_never_comes() {
    let proxy = Proxy::start(echo());
    proxy.arm(Fault::CutAfter(Towards::Server, 5));
    let mut short = connect(&proxy);
    hears(&mut short, b"abc");
    short.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut short), b"");
    while proxy.connections() > 0 {
        thread::yield_now();
    }
    let mut next = connect(&proxy);
    next.write_all(b"de").unwrap();
    rest(&mut next);
    assert_eq!(proxy.count(Kind::HalfSent), 1);

    proxy.arm(Fault::CutAfter(Towards::Server, 2));
    let mut spared = connect(&proxy);
    hears(&mut spared, b"x");
    proxy.heal();
    hears(&mut spared, b"a long word");
    hears(&mut connect(&proxy), b"another");
    assert_eq!(proxy.count(Kind::HalfSent), 1);
}

#[test]
fn a_black_hole_holds_open_and_new_connections_and_a_hole_without_victims_does_not_count() {
    let proxy = Proxy::start(echo());
    let mut open = connect(&proxy);
    hears(&mut open, b"before");
    proxy.black_hole();
    proxy.heal();
    assert_eq!(proxy.count(Kind::BlackHole), 0);

    proxy.black_hole();
    let mut new = connect(&proxy);
    for client in [&mut open, &mut new] {
        client.write_all(b"held").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(client.read(&mut [0; 4]).is_err(), "something came through");
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    }
    proxy.heal();
    for client in [&mut open, &mut new] {
        let mut held = [0; 4];
        client.read_exact(&mut held).unwrap();
        assert_eq!(&held, b"held");
    }
    assert_eq!(proxy.count(Kind::BlackHole), 1);
}

#[test]
fn a_delay_slows_every_chunk_down() {
    let proxy = Proxy::start(echo());
    let delay = Duration::from_millis(60);
    proxy.delay(delay);
    let begun = Instant::now();
    hears(&mut connect(&proxy), b"slow");
    assert!(begun.elapsed() >= 2 * delay, "{:?}", begun.elapsed());
    assert_eq!(proxy.count(Kind::Delay), 1);
}

#[test]
fn new_connections_go_to_a_new_target() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(nobody);
    assert_eq!(rest(&mut connect(&proxy)), b"");
    proxy.retarget(echo());
    hears(&mut connect(&proxy), b"there");
}

#[test]
fn a_commit_is_seen_however_it_is_cut() {
    let query = |text: &[u8]| [&[1 + text.len() as u8, 0, 0, 0, 3], text].concat();
    let stream = [query(b"BEGIN"), query(b"COMMIX!"), query(b"commit"), query(b"SELECT 'COMMIT'")].concat();
    for size in 1..=stream.len() {
        let (mut packets, mut commits, mut through) = (Packets::default(), 0, Vec::new());
        for chunk in stream.chunks(size) {
            packets.push(chunk);
            while let Some(piece) = packets.next() {
                commits += usize::from(matches!(piece, Piece::Commit(_)));
                let (Piece::Bytes(bytes) | Piece::Commit(bytes)) = piece;
                through.extend(bytes);
            }
        }
        assert_eq!((commits, through), (1, stream.clone()), "in chunks of {size}");
    }
}

async fn through(proxy: &Proxy, database: &Database<'_>) -> Conn {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(proxy.address().port());
    Conn::new(options.user(Some("root")).db_name(Some(&database.name)).prefer_socket(false)).await.unwrap()
}

/// An INSERT and its COMMIT under the fault: whether the client heard of the COMMIT, and whether the row stands.
async fn commit_under(fault: LostCommit, proxy: &Proxy, database: &Database<'_>) -> (bool, bool) {
    proxy.arm(Fault::Commit(fault));
    let mut connection = through(proxy, database).await;
    connection.query_drop("BEGIN").await.unwrap();
    connection.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    let heard = connection.query_drop("COMMIT").await.is_ok();
    let mut look = database.connect().await;
    // Behind the row's lock, so that a server that has not heard of the end yet is waited for.
    let rows: Vec<u8> = look.query("SELECT x FROM t FOR UPDATE").await.unwrap();
    look.query_drop("DELETE FROM t").await.unwrap();
    look.disconnect().await.unwrap();
    (heard, !rows.is_empty())
}

#[tokio::test]
async fn the_answer_to_a_commit_is_lost_in_three_ways() {
    for kind in [ServerKind::MariaDb, ServerKind::MySql] {
        let Some(server) = Server::shared(kind) else { continue };
        let database = server.fresh();
        database.execute(&["CREATE TABLE t (x INT PRIMARY KEY)"]);
        let proxy = Proxy::mysql(SocketAddr::from(([127, 0, 0, 1], server.port())));
        assert_eq!(commit_under(LostCommit::Swallowed, &proxy, &database).await, (false, true), "{kind:?}");
        assert_eq!(commit_under(LostCommit::NeverSent, &proxy, &database).await, (false, false), "{kind:?}");
        let begun = Instant::now();
        let late = Duration::from_millis(150);
        assert_eq!(commit_under(LostCommit::Late(late), &proxy, &database).await, (false, true), "{kind:?}");
        assert!(begun.elapsed() >= late);
        let counts = [Kind::CommitSwallowed, Kind::CommitNeverSent, Kind::CommitLate].map(|kind| proxy.count(kind));
        assert_eq!(counts, [1, 1, 1], "{kind:?}");
        proxy.heal();
        let mut connection = through(&proxy, &database).await;
        connection.query_drop("BEGIN").await.unwrap();
        connection.query_drop("COMMIT").await.unwrap();
    }
}
