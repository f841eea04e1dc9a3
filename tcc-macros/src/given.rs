//! A key that may be missing.

/// One whose value was refused is not missing, and its absence is not a second mistake.
pub(crate) enum Given<T> {
    Absent,
    Refused,
    Value(T),
}

impl<T> Given<T> {
    pub(crate) fn read(&mut self, value: syn::Result<T>) -> syn::Result<()> {
        *self = Given::Refused;
        *self = Given::Value(value?);
        Ok(())
    }

    /// Its absence is explained by another mistake.
    pub(crate) fn excuse(&mut self) {
        if self.is_absent() {
            *self = Given::Refused;
        }
    }

    pub(crate) fn value(&self) -> Option<&T> {
        match self {
            Given::Value(value) => Some(value),
            Given::Absent | Given::Refused => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Given::Absent)
    }
}
