//! The protocol of host and warden: what is understood is what was written, both ways.

use lazarus::backend::protocol::{PACKET_MOST_BYTES, Packet, control, from_child, output, to_child};

/// Takes a packet apart, as a warden and as a child would, and writes it again.
pub fn packet(data: &[u8]) {
    match from_child(data) {
        Ok(Packet::Control(message)) => {
            // What JSON writes shorter may be longer in its plain form: a word that does not fit is refused, never cut.
            if let Ok(packet) = control(&message) {
                assert!(packet.len() <= PACKET_MOST_BYTES);
                assert_eq!(from_child(&packet).expect("a packet of ours"), Packet::Control(message));
            }
        }
        Ok(Packet::Output { guest, stream, bytes }) => assert_eq!(output(guest, stream, bytes), data),
        Err(_) => {}
    }
    if let Ok(message) = to_child(data)
        && let Ok(packet) = control(&message)
    {
        assert_eq!(to_child(&packet).expect("a packet of ours"), message);
    }
    // Whatever is written to a stream fits packets, whole.
    let packet = output(7, lazarus::backend::protocol::Stream::Stderr, data);
    assert!(packet.len() <= PACKET_MOST_BYTES && from_child(&packet).is_ok());
}
