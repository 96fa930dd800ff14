package roster

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/shm/shmsync"
)

const (
	magic   = 0x3172_7473_726d_7367 // "gsmrstr1", in the order of little-endian bytes
	version = 1
)

// header is the roster's object. All but rows is written once, by Create, and magic last.
type header struct {
	_       structs.HostLayout
	magic   atomic.Uint64
	version atomic.Uint64
	seat    atomic.Uint64 // the layout of S
	record  atomic.Uint64 // the layout of R
	// rows own the seats, by row. Written once each, by the first session in the row.
	rows [shmsync.MaxRows]atomic.Uint64
	// coming owns a row's seat until it is zero. Written by the session in the row.
	coming [shmsync.MaxRows]atomic.Uint64
}

const rowsAt, comingAt = 32, 32 + 8*shmsync.MaxRows

// chair is what a seat begins with; the structure's own part comes after it.
type chair[S any] struct {
	_ structs.HostLayout
	// peer is the session that has the seat, as Peer.Word; 0 before the first. Written by that session.
	peer atomic.Uint64
	// pages own the records: page k has firstPage<<k. Written by the session that has the seat.
	pages [pageCount]atomic.Uint64
	// coming owns a page until it is zero. Written by the same.
	coming atomic.Uint64
	own    S
}

const pagesAt, comingPageAt = 8, 8 + 8*pageCount

const (
	firstPage = 32
	pageCount = 16

	indexBits = 21
	// MaxRecords is how many records a session has at most.
	MaxRecords = firstPage * (1<<pageCount - 1)
)

// Ref names a record: the row plus one in bits 21-31, the record's number below. 0 names none.
type Ref uint32

func refOf(row, index int) Ref { return Ref(row+1)<<indexBits | Ref(index) }

// Row returns that of the session that the record belongs to, -1 of no record.
func (r Ref) Row() int { return int(r>>indexBits) - 1 }

// Index returns the record's number in its row, below MaxRecords.
func (r Ref) Index() int { return int(r & (1<<indexBits - 1)) }

// RefOf returns the Ref of a row's record by its number.
func RefOf(row, index int) Ref { return refOf(row, index) }
