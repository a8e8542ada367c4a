//! The form that is signed: a domain, then each field led by its length, so that no two different documents have the same bytes.

/// Bytes that are signed.
pub(super) struct Canonical(Vec<u8>);

impl Canonical {
    /// Begins a form; `domain` is used for nothing else.
    pub(super) fn new(domain: &str) -> Self {
        Self(Vec::new()).text(domain)
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        // usize is at most 64 bits wide wherever Rust runs.
        self.0.extend((bytes.len() as u64).to_be_bytes());
        self.0.extend(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// A text that may be absent: not the same as an empty one.
    pub(super) fn perhaps(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}
