//! The codings of some bytes, each made once, by the first request for it, on a thread where that
//! blocks no other request.

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::describe::Coding;

/// Each is none where the encoding is not smaller.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    gzip: OnceCell<Option<Bytes>>,
    zstd: OnceCell<Option<Bytes>>,
}

impl Encodings {
    /// `identity` in `coding`, or as it is where that is no larger; it is the same at each call.
    pub(super) async fn get(&self, coding: Coding, identity: &Bytes) -> (Coding, Bytes) {
        let cell = match coding {
            Coding::Identity => return (Coding::Identity, identity.clone()),
            Coding::Gzip => &self.gzip,
            Coding::Zstd => &self.zstd,
        };
        let encode = || async {
            let identity = identity.clone();
            let encoding = tokio::task::spawn_blocking(move || coding.encode(&identity));
            // It fails only while the runtime shuts down; the bytes as they are serve as well.
            encoding.await.ok().flatten().map(Bytes::from)
        };
        match cell.get_or_init(encode).await {
            Some(bytes) => (coding, bytes.clone()),
            None => (Coding::Identity, identity.clone()),
        }
    }
}
