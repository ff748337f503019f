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
        let Some(cell) = self.cell(coding) else { return (Coding::Identity, identity.clone()) };
        let encode = || async {
            let identity = identity.clone();
            let encoding = tokio::task::spawn_blocking(move || coding.encode(&identity));
            // It fails only while the runtime shuts down; the bytes as they are serve as well.
            encoding.await.ok().flatten().map(Bytes::from)
        };
        chosen(coding, cell.get_or_init(encode).await.as_ref(), identity)
    }

    /// The same; none: it has to be made first.
    pub(super) fn made(&self, coding: Coding, identity: &Bytes) -> Option<(Coding, Bytes)> {
        match self.cell(coding) {
            None => Some((Coding::Identity, identity.clone())),
            Some(cell) => cell.get().map(|made| chosen(coding, made.as_ref(), identity)),
        }
    }

    fn cell(&self, coding: Coding) -> Option<&OnceCell<Option<Bytes>>> {
        match coding {
            Coding::Identity => None,
            Coding::Gzip => Some(&self.gzip),
            Coding::Zstd => Some(&self.zstd),
        }
    }
}

fn chosen(coding: Coding, encoded: Option<&Bytes>, identity: &Bytes) -> (Coding, Bytes) {
    encoded.map_or_else(|| (Coding::Identity, identity.clone()), |bytes| (coding, bytes.clone()))
}
