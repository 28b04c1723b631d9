//! Bodies about whole pages: an image against torn writes, and the end of a page's life.

use crate::bytes::put;
use crate::error::{DecodeError, EncodeError};
use crate::fields::{bad_length, exact, page_at, split_head};
use crate::ids::PageId;
use crate::layout::{PAGE_FREE_BYTES, PAGE_FREE_PAGE, PAGE_IMAGE_HEAD_BYTES, PAGE_IMAGE_PAGE};

/// The body of [`RecordKind::PAGE_IMAGE`](crate::RecordKind::PAGE_IMAGE): a whole page.
///
/// Redo puts it in place whatever the page LSN says, for a torn page has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageImage<'a> {
    /// The page.
    pub page: PageId,
    /// All its bytes; not empty.
    pub image: &'a [u8],
}

impl<'a> PageImage<'a> {
    /// Bytes of the fixed head, before the image.
    pub const HEAD_BYTES: usize = PAGE_IMAGE_HEAD_BYTES;

    /// The fixed head; [`parts`](Self::parts) puts the image behind it.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BadField`]: the image is empty.
    pub fn encode_head(&self) -> Result<[u8; PAGE_IMAGE_HEAD_BYTES], EncodeError> {
        if self.image.is_empty() {
            return Err(EncodeError::BadField { field: "image" });
        }
        let mut head = [0; PAGE_IMAGE_HEAD_BYTES];
        put(&mut head, PAGE_IMAGE_PAGE, &self.page.get().to_le_bytes());
        Ok(head)
    }

    /// The body in parts, for [`RecordDraft`](crate::RecordDraft).
    #[must_use]
    pub const fn parts<'b>(&'b self, head: &'b [u8; PAGE_IMAGE_HEAD_BYTES]) -> [&'b [u8]; 2] {
        [head, self.image]
    }

    /// Reads the body; the image is borrowed from it.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`] or [`DecodeError::BadField`]: not such a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, image) = split_head::<PAGE_IMAGE_HEAD_BYTES>(body)?;
        if image.is_empty() {
            return Err(bad_length(body));
        }
        Ok(Self { page: page_at(head, PAGE_IMAGE_PAGE)?, image })
    }
}

/// The body of [`RecordKind::PAGE_FREE`](crate::RecordKind::PAGE_FREE): the page's life is over;
/// no older record of it applies to its next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFree {
    /// The page.
    pub page: PageId,
}

impl PageFree {
    /// Bytes of the body.
    pub const BYTES: usize = PAGE_FREE_BYTES;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; PAGE_FREE_BYTES] {
        let mut body = [0; PAGE_FREE_BYTES];
        put(&mut body, PAGE_FREE_PAGE, &self.page.get().to_le_bytes());
        body
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`] or [`DecodeError::BadField`]: not such a body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = exact::<PAGE_FREE_BYTES>(body)?;
        Ok(Self { page: page_at(body, PAGE_FREE_PAGE)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_frees_come_back_as_they_were() {
        let image = PageImage { page: PageId::new(3), image: &[0xa5; 512] };
        let head = image.encode_head().unwrap();
        assert_eq!(PageImage::decode(&image.parts(&head).concat()), Ok(image));
        let free = PageFree { page: PageId::new(3) };
        assert_eq!(PageFree::decode(&free.encode()), Ok(free));
    }

    #[test]
    fn an_empty_image_is_refused_both_ways() {
        let image = PageImage { page: PageId::new(3), image: b"" };
        assert_eq!(image.encode_head(), Err(EncodeError::BadField { field: "image" }));
        assert_eq!(PageImage::decode(&[0; 8]), Err(DecodeError::BadLength { found: 8 }));
    }

    #[test]
    fn no_page_is_not_a_page() {
        let none = PageFree { page: PageId::NONE };
        assert_eq!(PageFree::decode(&none.encode()), Err(DecodeError::BadField { field: "page" }));
    }
}
