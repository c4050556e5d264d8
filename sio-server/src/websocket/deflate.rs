//! permessage-deflate.
use super::Violation;
pub(super) fn inflate(_payload: &[u8], _limit: usize) -> Result<Vec<u8>, Violation> {
    Err(Violation::DeflateInvalid)
}
