//! Names and links of a home, as an archive holds them: every name comes back as it was, and no link leads out.

use lazarus::home::{Copied, EntryKind, TarWriter, stays_inside};

/// Linux' NAME_MAX and PATH_MAX: no name of a home is longer, and no path of an archive.
const NAME_MOST_BYTES: usize = 255;
const PATH_MOST_BYTES: usize = 4095;
const BLOCK_BYTES: usize = 512;

/// Bytes are a path, a link's text, a content and a time, each up to a NUL: what a kernel could have.
pub fn archive(data: &[u8]) {
    let mut fields = data.splitn(4, |byte| *byte == 0);
    let mut next = || fields.next().unwrap_or_default();
    let (path, text, content, time) = (path(next()), next(), next(), next());
    let seconds = time.iter().take(8).fold(0_i64, |number, byte| (number << 8) | i64::from(*byte));
    link(&path, text);
    let text = text.get(..PATH_MOST_BYTES).unwrap_or(text);
    for (kind, sizes) in [
        (EntryKind::Directory, &[][..]),
        (EntryKind::Link(text), &[][..]),
        (EntryKind::SameFile(&path), &[][..]),
        // As many bytes as there are, one fewer, and some more.
        (EntryKind::File(0), &[content.len(), content.len().saturating_sub(1), content.len() + 700][..]),
    ] {
        for size in sizes.iter().copied().map(Some).chain(sizes.is_empty().then_some(None)) {
            let kind = size.map_or(kind, |size| EntryKind::File(size as u64));
            let mut tar = TarWriter::new(Vec::new());
            tar.header(&path, kind, 0o7777, seconds).expect("memory takes it");
            if let Some(size) = size {
                let copied = tar.content(content, size as u64).expect("memory takes it");
                match copied {
                    Copied::Whole => assert_eq!(size, content.len()),
                    Copied::Cut => assert!(size < content.len()),
                    Copied::Padded(why) => assert!(size > content.len() && why.is_none()),
                }
            }
            let bytes = tar.finish().expect("memory takes it");
            read_back(&bytes, &path, kind, seconds, content);
        }
    }
}

/// A path as a walk finds it: below the top, of names that a directory can have.
fn path(given: &[u8]) -> Vec<u8> {
    let mut path = b"laz-00000001".to_vec();
    for name in given.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"." | b"..")) {
        let name = name.get(..NAME_MOST_BYTES).unwrap_or(name);
        if path.len() + 1 + name.len() > PATH_MOST_BYTES {
            break;
        }
        path.push(b'/');
        path.extend(name);
    }
    path
}

/// A link is let in exactly if it is relative, climbs before anything else, and no further than to the top.
fn link(path: &[u8], text: &[u8]) {
    let depth = path.iter().filter(|byte| **byte == b'/').count().saturating_sub(1);
    let parts: Vec<&[u8]> = text.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    let climbs = parts.iter().take_while(|part| **part == b"..").count();
    let later = parts.iter().skip(climbs).any(|part| *part == b"..");
    let relative = text.first().is_some_and(|first| *first != b'/');
    assert_eq!(stays_inside(path, text), relative && text.len() <= PATH_MOST_BYTES && climbs <= depth && !later);
}

/// Reads one entry with a reader of its own: the long names, the header, the content, the end; and nothing else.
fn read_back(bytes: &[u8], path: &[u8], kind: EntryKind<'_>, seconds: i64, content: &[u8]) {
    let mut at = 0;
    let (mut long_name, mut long_link) = (None, None);
    let header = loop {
        let header = &bytes[at..at + BLOCK_BYTES];
        at += BLOCK_BYTES;
        check_sum(header);
        assert!(header[257..].starts_with(b"ustar  "), "the GNU form");
        if !matches!(header[156], b'L' | b'K') {
            break header;
        }
        let size = octal(&header[124..136]);
        let long = bytes[at..at + size].strip_suffix(b"\0").expect("a NUL at its end").to_vec();
        at += size.next_multiple_of(BLOCK_BYTES);
        let place = if header[156] == b'L' { &mut long_name } else { &mut long_link };
        assert!(place.replace(long).is_none(), "one of a kind");
    };
    let field = |range: std::ops::Range<usize>| header[range].split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let (name, link) = (long_name.unwrap_or_else(|| field(0..100)), long_link.unwrap_or_else(|| field(157..257)));
    assert_eq!(octal(&header[100..108]), 0o777, "no more than permissions");
    assert_eq!((octal(&header[108..116]), octal(&header[116..124])), (0, 0), "nobody's");
    assert_eq!(time(&header[136..148]), seconds);
    assert_eq!(name.strip_suffix(b"/").unwrap_or(&name), path);
    let (letter, size, text): (u8, usize, &[u8]) = match kind {
        EntryKind::Directory => (b'5', 0, b""),
        EntryKind::File(size) => (b'0', usize::try_from(size).expect("small"), b""),
        EntryKind::Link(text) => (b'2', 0, text),
        EntryKind::SameFile(path) => (b'1', 0, path),
    };
    assert_eq!((header[156], octal(&header[124..136]), link.as_slice()), (letter, size, text));
    assert_eq!(name.ends_with(b"/"), letter == b'5', "a directory's name alone ends in a slash");
    let (written, padding) = bytes[at..at + size.next_multiple_of(BLOCK_BYTES)].split_at(size);
    assert_eq!(written[..size.min(content.len())], content[..size.min(content.len())]);
    assert!(written.iter().skip(content.len()).chain(padding).all(|byte| *byte == 0));
    at += size.next_multiple_of(BLOCK_BYTES);
    assert!(bytes.len() == at + 2 * BLOCK_BYTES && bytes[at..].iter().all(|byte| *byte == 0), "the end, and nothing else");
}

fn octal(field: &[u8]) -> usize {
    let digits = field.split(|byte| matches!(*byte, 0 | b' ')).find(|part| !part.is_empty()).unwrap_or_default();
    digits.iter().fold(0, |number, digit| number * 8 + usize::from(*digit - b'0'))
}

fn time(field: &[u8]) -> i64 {
    if field[0] & 0x80 == 0 {
        return i64::try_from(octal(field)).expect("eleven digits");
    }
    let sign = i128::from(field[0] as i8 >> 7) * i128::from(field[0] != 0x80);
    let number = field[1..].iter().fold(sign, |number, byte| (number << 8) | i128::from(*byte));
    i64::try_from(number).expect("it was one")
}

fn check_sum(header: &[u8]) {
    let blank = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { usize::from(*byte) };
    assert_eq!(octal(&header[148..156]), header.iter().enumerate().map(blank).sum::<usize>());
}
