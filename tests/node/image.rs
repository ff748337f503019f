//! The image, as `make image` builds it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::chart::combined_output;
use crate::node::Node;

/// What an archive of the image may weigh, as registries count it.
const BYTES: u64 = 20_000_000;

/// A program of the repository, with containers' storage in a folder of its own.
fn stored(folder: &Path, program: &str) -> Command {
    let conf = folder.join("storage.conf");
    let text =
        format!("[storage]\ndriver = \"vfs\"\nrunroot = \"{0}/run\"\ngraphroot = \"{0}/root\"\n", folder.display());
    fs::write(&conf, text).expect("it can be written");
    let mut command = Command::new(program);
    command.env("CONTAINERS_STORAGE_CONF", conf).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", combined_output(&output));
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

#[test]
fn the_image_holds_the_program_and_certificates_and_nothing_else() {
    // What it needs is installed with what a node needs.
    Node::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let buildah = || stored(folder.path(), "buildah");
    // Not optimised: the bound holds all the more for what is released.
    let image = run(stored(folder.path(), "deploy/image/build").env("PROFILE", "dev").env("BUILDER", "buildah"));
    assert_eq!(image, concat!("localhost/tidewait:", env!("CARGO_PKG_VERSION")));

    let config: Value = serde_json::from_str(&run(buildah().args(["inspect", "--type=image", &image]))).expect("JSON");
    let config = &config["OCIv1"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/tidewait"]));
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(config["Labels"]["org.opencontainers.image.revision"].as_str().map(str::len), Some(40));

    let container = run(buildah().args(["from", &image]));
    let root = run(buildah().args(["mount", &container]));
    let files = run(Command::new("find").args([&*root, "-type", "f", "-printf", "%P\n"]));
    let files: BTreeSet<_> = files.lines().collect();
    assert_eq!(files, BTreeSet::from(["etc/ssl/certs/ca-certificates.crt", "tidewait"]));
    // Nothing of this machine's is needed to run it.
    let version = run(Command::new("chroot").args([&*root, "/tidewait", "--version"]));
    assert_eq!(version, concat!("tidewait ", env!("CARGO_PKG_VERSION")));

    let archive = folder.path().join("image.tar");
    run(buildah().args(["push", "--quiet", &image]).arg(format!("oci-archive:{}", archive.display())));
    let bytes = archive.metadata().expect("it is there").len();
    assert!(bytes < BYTES, "{bytes}");
    run(buildah().args(["umount", &container]));
}

#[test]
fn who_has_no_builder_is_told() {
    let told = |builder: &str| -> Output {
        Command::new("deploy/image/build")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("BUILDER", builder)
            .output()
            .expect("it runs")
    };
    let output = told("kaniko");
    assert!(!output.status.success());
    let message = "image: an image is built with docker (and its daemon), podman or buildah, and kaniko is not usable here: \
                   install one, for example with apt-get install buildah\n";
    assert_eq!(combined_output(&output), message);
}
