//! What comes while it comes: pieces, signals, and an output that nobody reads.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::*;
use crate::server::until;

/// Starts it as a shell in the foreground does: what a shell runs in the background ignores SIGINT, and so would this.
fn start(arguments: &[&str], stdout: Stdio) -> Child {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_tidewait"), "fetch", "--quiet"]).args(arguments);
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    command.spawn().expect("it runs")
}

fn signal(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("it runs");
    kill_process(id, signal).expect("it runs");
}

#[tokio::test]
async fn a_body_is_put_out_as_it_comes_and_is_never_all_in_memory() {
    const PIECE: usize = 64 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let mut child = start(&[&url], Stdio::piped());
    let (mut stream, _) = listener.accept().await.expect("it connects");
    let _ = stream.read(&mut [0; 4096]).await.expect("a request");
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst piece").await.expect("it reads");
    let mut output = child.stdout.take().expect("piped");
    let mut first = [0; 11];
    tokio::time::timeout(STEP, output.read_exact(&mut first)).await.expect("at once").expect("the first piece");
    assert_eq!(&first, b"first piece");
    let sending = tokio::spawn(async move {
        for _ in 0..2048 {
            stream.write_all(&vec![b'x'; PIECE]).await.expect("it reads");
        }
        stream
    });
    let mut rest = vec![0; PIECE];
    for _ in 0..2048 {
        tokio::time::timeout(STEP, output.read_exact(&mut rest)).await.expect("it goes on").expect("a piece");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id().expect("it runs"))).expect("Linux has it");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 64 * 1024, "{peak} kB for 128 MiB");
    drop(sending.await.expect("all is sent"));
    assert_eq!(child.wait().await.expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn signals_end_it_at_once_and_leave_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result");
    fs::write(&file, "old").expect("a file");
    let path = file.to_str().expect("UTF-8");
    let waits = Work::start(|_, _| says(303, &[("location", "/x"), ("retry-after", "200")], "")).await;
    let half = Raw::start(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec(), true).await;
    for (number, sent) in [(15, Signal::TERM), (2, Signal::INT)] {
        for (url, arguments) in
            [(waits.url("/"), &[][..]), (waits.url("/"), &["-o", path]), (half.url.clone(), &["-o", path])]
        {
            let before = waits.asked().len() + half.requests();
            let mut child = start(&[arguments, &[&url]].concat(), Stdio::null());
            until("asked", async || (waits.asked().len() + half.requests() > before).then_some(())).await;
            signal(&child, sent);
            let status = tokio::time::timeout(STEP, child.wait()).await.expect("at once").expect("a status");
            assert_eq!(status.signal(), Some(number), "{arguments:?}: {status:?}");
            assert_eq!(fs::read_to_string(&file).expect("a file"), "old");
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn signals_end_it_where_nobody_reads_what_it_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("a pipe");
    let server = Work::start(|_, _| says(200, &[], &"x".repeat(1024 * 1024))).await;
    let url = server.url("/");
    let (file, pipe) = (folder.path().join("file"), pipe.to_str().expect("UTF-8"));
    let problem = Work::start(|_, _| says(404, &[], &"x".repeat(1024 * 1024))).await;
    let file = file.to_str().expect("UTF-8");
    let missing = problem.url("/");
    for (arguments, work) in
        [(&["-o", file, &*missing][..], &problem), (&[&*url], &server), (&["-o", pipe, &*url], &server)]
    {
        let before = work.asked().len();
        // Their other ends are open, and nobody reads there.
        let (_reader, stdout) = std::io::pipe().expect("a pipe");
        let at_once = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag");
        let _other = OpenOptions::new().read(true).custom_flags(at_once).open(pipe).expect("a pipe");
        let mut child = start(arguments, stdout.into());
        until("asked", async || (work.asked().len() > before).then_some(())).await;
        signal(&child, Signal::TERM);
        let status = tokio::time::timeout(STEP, child.wait()).await.expect("at once").expect("a status");
        assert_eq!(status.signal(), Some(15), "{arguments:?}: {status:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "the pipe alone");
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_no_success() {
    let server = Work::start(|_, _| says(200, &[], "done")).await;
    let full: Stdio = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into();
    let closed: Stdio = std::io::pipe().expect("a pipe").1.into();
    for stdout in [full, closed] {
        let output = start(&[&server.url("/")], stdout).wait_with_output().await.expect("it ends");
        let (code, _, err) = parts(&output);
        assert_eq!(code, Some(1));
        assert!(err.starts_with("tidewait: standard output cannot be written: "), "{err}");
    }
    let (code, _, err) = parts(&fetch(&["-o", "/dev/full", &server.url("/")]).await);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("tidewait: --output: cannot write /dev/full: No space left"), "{err}");
}
