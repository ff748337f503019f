//! In tests, what can happen to a change of files: an error at one of its steps, or the end of the process there. After a
//! kill no step does anything any more, so what lies on the disk is what a killed process leaves.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::path::Path;

use rustix::io::Errno;
use tempfile::TempDir;

#[derive(Debug, Default)]
struct Plan {
    done: usize,
    steps: Vec<String>,
    fault: Option<(usize, Option<Errno>)>,
    happened: bool,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// A fault that is to happen on this thread, until it ends.
#[derive(Debug)]
#[must_use]
pub(crate) struct Fault(PhantomData<*const ()>);

impl Fault {
    /// Whether it has happened.
    pub(crate) fn end(self) -> bool {
        let happened = PLAN.with_borrow(|plan| plan.happened);
        drop(self);
        happened
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        PLAN.take();
    }
}

/// A folder in memory, where there is one: hundreds of kills are not to wait for the disk of the machine each.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// The process is killed before the step of this number, from 0; a write is half done then.
pub(crate) fn kill_at(step: usize) -> Fault {
    planned(step, None)
}

/// The step of this number fails, those after it do not.
pub(crate) fn fail_at(step: usize, error: Errno) -> Fault {
    planned(step, Some(error))
}

fn planned(step: usize, error: Option<Errno>) -> Fault {
    PLAN.set(Plan { fault: Some((step, error)), ..Plan::default() });
    Fault(PhantomData)
}

/// The steps that are done meanwhile, each with the last part of its path.
pub(crate) fn steps(run: impl FnOnce()) -> Vec<String> {
    PLAN.take();
    run();
    PLAN.take().steps
}

pub(crate) fn step(name: &str, path: &Path) -> io::Result<()> {
    PLAN.with_borrow_mut(|plan| {
        let number = plan.done;
        plan.done += 1;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        plan.steps.push(format!("{name} {file}"));
        match plan.fault {
            Some((at, None)) if number >= at => {
                plan.happened = true;
                Err(io::Error::other("killed"))
            }
            Some((at, Some(error))) if number == at => {
                plan.happened = true;
                Err(error.into())
            }
            Some(_) | None => Ok(()),
        }
    })
}

pub(crate) fn write(path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let before = PLAN.with_borrow(|plan| plan.happened);
    step("write", path).inspect_err(|_| {
        if !before {
            let _ = file.write_all(&bytes[..bytes.len() / 2]);
        }
    })
}
