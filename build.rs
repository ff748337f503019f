//! Tests start the debug build of the program thousands of times. Its relative relocations are packed: unpacked, each start reads
//! four more megabytes to move its addresses. A release stays as it is, since systems before glibc 2.36 cannot load such a program.

#[expect(clippy::disallowed_methods, reason = "Cargo tells a build script what it builds by the environment")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    if is("PROFILE", "debug") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bin=tidewait=-Wl,-z,pack-relative-relocs");
    }
}
