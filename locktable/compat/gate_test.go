//go:build linux

package compat

import "testing"

func TestWaitsIn(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  READ 12 08:01:131 0 EOF
2: OFDLCK ADVISORY  READ -1 08:01:77 0 EOF
2: -> POSIX  ADVISORY  WRITE 13 08:01:77 0 EOF
3: FLOCK  ADVISORY  WRITE 14 08:01:977 0 EOF
`
	for inode, want := range map[uint64]bool{77: true, 131: false, 977: false, 7: false, 1: false} {
		if got := waitsIn([]byte(locks), inode); got != want {
			t.Errorf("inode %d: %v, want %v", inode, got, want)
		}
	}
}

func TestNetworkTypes(t *testing.T) {
	for magic, want := range map[uint32]bool{0x6969: true, 0x65735546: true, 0x01021994: false, 0xef53: false, 0x9123683e: false} {
		if networkType(magic) != want {
			t.Errorf("type %#x: %v", magic, !want)
		}
	}
}
