//! What tells one content of a file from another.

/// Of the bytes as they lie at the source, not decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    pub bytes: u64,
    pub sha256: [u8; 32],
}

impl Fingerprint {
    /// The SHA-256 as 64 hex digits, as `sha256sum` prints it.
    pub fn hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Fingerprint", 2)?;
        fields.serialize_field("bytes", &self.bytes)?;
        fields.serialize_field("sha256", &self.hex())?;
        fields.end()
    }
}
