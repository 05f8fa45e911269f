// Package doctor judges what the services say of themselves and what lies in their buckets, and says how what is
// wrong is mended. It is pure: its caller reads, and shows.
//
// What a device wrote is hostile. It gets into a command only quoted, so that pasting it runs nothing else;
// whoever shows the other texts on a terminal makes them printable first.
package doctor
