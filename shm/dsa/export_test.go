package dsa

import "unsafe"

// Aligned returns zero bytes for an area in place.
func Aligned(n int) []byte { return aligned(n) }

// Beyond is the byte behind b.
func Beyond(b []byte) *byte { return (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), len(b))) }

// Places are the offsets of an area's words in its first segment, but for the locks', whose
// garbling others are tested for and which make one wait.
func Places(b []byte) (list []int) {
	end := int(fitting(firstSegment(4), uint64(len(b))).data)
	for at := 0; at < end; at += 8 {
		if at < 128 || at >= 640 {
			list = append(list, at)
		}
	}
	return list
}

// Get and Put read and write a word.
func Get(b []byte, at int) uint64 { return *first(b, uint64(at)) }

func Put(b []byte, at int, v uint64) { *first(b, uint64(at)) = v }

// MakeDirty is what somebody leaves who dies with the lock.
func MakeDirty(a *Area) { a.head.dirty.Store(1) }
