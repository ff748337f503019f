//! Somebody who reads an output all the time: at each change of its folder (inotify(7)), and each millisecond in between.
//!
//! What readers may open is never touched, it is only replaced: of a name that does not begin with a dot nothing is ever
//! seen but that something was renamed to it. So nobody can open it half written, or with the owner and the mode that it
//! has not yet.

use std::fs;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Between two looks where nothing happens.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// So many strange things are enough.
const ENOUGH: usize = 5;

/// What is watched.
pub(super) struct Place {
    /// It is made if it is not there.
    pub(super) folder: PathBuf,
    /// What readers open in it. Once it is there, it is always there.
    pub(super) name: &'static str,
    /// Opens that, and gives the number of the state that is in it, or what is wrong with it.
    pub(super) look: Box<dyn Fn() -> Result<usize, String> + Send>,
}

/// The reader; it ends with this.
pub(super) struct Watched {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

#[derive(Default)]
struct Seen {
    strange: Vec<String>,
    /// How often something was renamed to the name.
    moves: usize,
    /// The numbers of the states, each once in a row.
    numbers: Vec<usize>,
}

impl Watched {
    /// What happens from now on is seen.
    pub(super) fn start(place: Place) -> Self {
        fs::create_dir_all(&place.folder).expect("the folder can be made");
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("Linux has it");
        let what = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::CLOSE_WRITE;
        let what = what | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, &place.folder, what).expect("it is there");
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut seen, mut buffer) = (Seen::default(), [MaybeUninit::uninit(); 4096]);
            let mut reader = Reader::new(&fd, &mut buffer);
            while seen.strange.len() < ENOUGH {
                let ends = stopped.load(Ordering::Relaxed);
                if reader.is_buffer_empty() {
                    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&PAUSE)).expect("it can be waited for");
                }
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                        seen.happened(place.name, name.as_deref(), event.events());
                    }
                    Err(Errno::WOULDBLOCK) if ends => break,
                    Err(Errno::WOULDBLOCK) => {}
                    Err(error) => seen.strange.push(error.to_string()),
                }
                if seen.moves > 0 {
                    seen.opened((place.look)());
                }
            }
            seen
        });
        Self { stop, thread: Some(thread) }
    }

    /// Nothing strange was seen. Gives how often something was renamed to the name, and the states that were seen there.
    pub(super) fn judge(mut self) -> (usize, Vec<usize>) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.take().expect("once").join().expect("no panic");
        assert_eq!(seen.strange, <Vec<String>>::new());
        (seen.moves, seen.numbers)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn happened(&mut self, watched: &str, name: Option<&str>, what: ReadFlags) {
        let Some(name) = name else { return self.strange.push(format!("{what:?}")) };
        let what = what - ReadFlags::ISDIR;
        if name == watched && what == ReadFlags::MOVED_TO {
            self.moves += 1;
        }
        // Trees are renamed before they are removed, too.
        let is_tree = name != watched && what == ReadFlags::MOVED_FROM;
        if !name.starts_with('.') && what != ReadFlags::MOVED_TO && !is_tree {
            self.strange.push(format!("{what:?} of {name}"));
        }
    }

    fn opened(&mut self, found: Result<usize, String>) {
        match found {
            Ok(number) if self.numbers.last() == Some(&number) => {}
            Ok(number) => self.numbers.push(number),
            Err(error) => self.strange.push(error),
        }
    }
}
