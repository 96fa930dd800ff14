// Command wineshim writes bcryptprimitives.dll, which Go programs want and wine before 9 lacks:
//
//	go run -C tools ./wineshim "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll"
//
// The library is 1 KiB, for amd64, and holds no code: one export, ProcessPrng, forwarded to advapi32's
// SystemFunction036 (RtlGenRandom), which does the same.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wineshim FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], library(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "wineshim:", err)
		os.Exit(1)
	}
}

const (
	fileAlign = 512    // headers, and the one section
	rva       = 0x1000 // where the section is mapped
	dirSize   = 0x100  // of export directory, tables and names together: a function inside it is a forwarder
)

// image is bytes that fields are put into, little-endian.
type image []byte

func (b image) put16(at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }
func (b image) put32(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
func (b image) put64(at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }

func library() []byte { return append(headers(), exports()...) }

func headers() image {
	const (
		pe       = 64
		coff     = pe + 4
		optional = coff + 20
		optSize  = 112 + 16*8 // with its 16 data directories
		section  = optional + optSize
	)
	b := make(image, fileAlign)
	copy(b, "MZ")
	b.put32(60, pe)
	copy(b[pe:], "PE\x00\x00")

	b.put16(coff, 0x8664)     // amd64
	b.put16(coff+2, 1)        // sections
	b.put16(coff+16, optSize) //
	b.put16(coff+18, 0x2022)  // a DLL; executable; large addresses
	b.put16(optional, 0x20b)  // PE32+
	b.put32(optional+20, rva) // base of code
	b.put64(optional+24, 0x180000000)
	b.put32(optional+32, 4096) // section alignment
	b.put32(optional+36, fileAlign)
	b.put16(optional+40, 6)     // system version
	b.put16(optional+48, 6)     // subsystem version
	b.put32(optional+56, 2*rva) // size of the image
	b.put32(optional+60, fileAlign)
	b.put16(optional+68, 3)     // subsystem: console
	b.put16(optional+70, 0x100) // bears being moved
	b.put64(optional+72, 1<<20) // stack and heap: reserve, commit
	b.put64(optional+80, 4096)
	b.put64(optional+88, 1<<20)
	b.put64(optional+96, 4096)
	b.put32(optional+108, 16) // data directories, the first of which is the exports
	b.put32(optional+112, rva)
	b.put32(optional+116, dirSize)

	copy(b[section:], ".edata")
	b.put32(section+8, dirSize)
	b.put32(section+12, rva)
	b.put32(section+16, fileAlign) // in the file, and where
	b.put32(section+20, fileAlign)
	b.put32(section+36, 0x40000040) // readable data
	return b
}

func exports() image {
	const functions, names, ordinals, library, target, name = 0x60, 0x64, 0x68, 0x40, 0x80, 0xC0
	b := make(image, fileAlign)
	b.put32(12, rva+library)
	b.put32(16, 1) // the first ordinal
	b.put32(20, 1) // functions
	b.put32(24, 1) // names
	b.put32(28, rva+functions)
	b.put32(32, rva+names)
	b.put32(36, rva+ordinals)
	b.put32(functions, rva+target)
	b.put32(names, rva+name)
	copy(b[library:], "bcryptprimitives.dll")
	copy(b[target:], "advapi32.SystemFunction036")
	copy(b[name:], "ProcessPrng")
	return b
}
