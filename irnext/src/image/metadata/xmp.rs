//! The properties of an XMP packet that must fit the photo. The packet is changed as text: all else
//! in it stays as it is.

use std::ops::Range;

const ORIENTATION: &[u8] = b"tiff:Orientation";
const WIDTHS: [&[u8]; 2] = [b"tiff:ImageWidth", b"exif:PixelXDimension"];
/// Whether a video lies behind the picture, in two generations of Google's cameras.
const VIDEOS: [&[u8]; 2] = [b":MicroVideo", b":MotionPhoto"];
const HEIGHTS: [&[u8]; 2] = [b"tiff:ImageLength", b"exif:PixelYDimension"];
/// Names the further packet of a JPEG file by the checksum of its contents.
const EXTENSION: &[u8] = b"xmpNote:HasExtendedXMP";

/// The length of a further packet's name.
const NAME_LEN: usize = 32;

/// The orientation that the packet tells, 1 to 8.
pub(super) fn orientation(packet: &[u8]) -> Option<u8> {
    let of_value = |range: Range<usize>| match packet[range] {
        [digit @ b'1'..=b'8'] => Some(digit - b'0'),
        _ => None,
    };
    numbers(packet, ORIENTATION).into_iter().find_map(of_value)
}

/// Whether the packet says that a video lies behind the picture.
pub(super) fn has_video(packet: &[u8]) -> bool {
    let mut values = VIDEOS.iter().flat_map(|name| numbers(packet, name));
    values.any(|range| packet[range] != *b"0")
}

/// Sets the orientation to 1 and the dimensions to these, where the packet tells any, and that
/// there is no video.
pub(super) fn make_upright(packet: &mut Vec<u8>, width: usize, height: usize) {
    set(packet, ORIENTATION, 1);
    WIDTHS.iter().for_each(|name| set(packet, name, width));
    HEIGHTS.iter().for_each(|name| set(packet, name, height));
    VIDEOS.iter().for_each(|name| set(packet, name, 0));
}

fn set(packet: &mut Vec<u8>, name: &[u8], value: usize) {
    // From the last on, since their lengths may change.
    for range in numbers(packet, name).into_iter().rev() {
        packet.splice(range, value.to_string().into_bytes());
    }
}

/// Where the packet has the digits of a property, as an attribute or as an element.
fn numbers(packet: &[u8], name: &[u8]) -> Vec<Range<usize>> {
    let is_number = |range: &Range<usize>| {
        let value = &packet[range.clone()];
        !value.is_empty() && value.iter().all(u8::is_ascii_digit)
    };
    values(packet, name).into_iter().filter(is_number).collect()
}

/// Where the packet has the values of a property, as an attribute or as an element.
fn values(packet: &[u8], name: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = find(&packet[at..], name) {
        at += start + name.len();
        let is_between = |byte: &u8| matches!(byte, b'=' | b'"' | b'\'' | b'>' | b' ');
        let between = packet[at..].iter().take_while(|byte| is_between(byte)).count();
        let value = at + between;
        let is_inside = |byte: &u8| !matches!(byte, b'"' | b'\'' | b'<' | b' ' | b'\n' | b'\r');
        let len = packet[value..].iter().take_while(|byte| is_inside(byte)).count();
        if between > 0 {
            found.push(value..value + len);
        }
    }
    found
}

/// The name of the further packet that this one points to.
pub(super) fn extension(packet: &[u8]) -> Option<&[u8]> {
    let mut names = values(packet, EXTENSION).into_iter().map(|range| &packet[range]);
    names.find(|name| name.len() == NAME_LEN)
}

/// The packet without its pointer to a further one.
pub(super) fn without_extension(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    while let Some(range) = property(&packet, EXTENSION) {
        packet.drain(range);
    }
    packet
}

/// Where the packet has a property: an attribute with the white space before it, or an element.
fn property(packet: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let start = find(packet, name)?;
    let after = start + name.len();
    if packet[..start].ends_with(b"<") {
        let end_tag = [b"</", name, b">"].concat();
        let end = after + find(&packet[after..], &end_tag)? + end_tag.len();
        return Some(start - 1..end);
    }
    let space = packet[..start].iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    let open = after + packet[after..].iter().position(|byte| matches!(byte, b'"' | b'\''))?;
    let close = open + 1 + packet[open + 1..].iter().position(|byte| *byte == packet[open])?;
    Some(start - space..close + 1)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
