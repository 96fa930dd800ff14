package logcache

import (
	"fmt"
	"math/bits"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/eviction"
)

// shape is where the parts of a cache lie in its region. It follows from the region's size alone.
type shape struct {
	limit   int // bytes of the region
	nshards int // a power of two
	extent  int // bytes of an extent, a power of two
	each    int // extents of each shard

	chunkBits int // an extent has room for 1 << chunkBits lines
	nlines    int // of each shard's index, at first
	nsketch   int // words of each shard's sketch
	nghost    int // words of each shard's ghost
	nloads    int // loads that each shard knows of at a time
	ntags     int
	livesAt   int
	rowsAt    int
	linesAt   int
	sketAt    int
	ghostAt   int
	tagsAt    int
	keysAt    int // of loads
	loadsAt   int
	logAt     int
}

const (
	// MinLimit and MaxLimit bound the size of a cache's region.
	MinLimit = 960 << 10
	MaxLimit = 1 << 36

	minExtent  = 16 << 10
	maxExtent  = 1 << 20
	maxShards  = 256
	perShard   = 256 // extents, if there are so many
	bytesASlot = 320 // of the limit, when the index is at its smallest
	bytesALoad = 64 << 10
	bytesATag  = 8 << 10
	bytesEntry = 256 // of the limit, for which sketch and ghost have room
)

// shapeOf returns the shape of a region of limit bytes.
func shapeOf(limit int) (s shape, err error) {
	if limit < MinLimit || int64(limit) > MaxLimit {
		return s, errkind.As(ErrSize, fmt.Errorf("logcache: a region of %d bytes: a cache has from %d to %d bytes",
			limit, MinLimit, int64(MaxLimit)))
	}
	s.limit = limit
	s.extent = min(max(powerBelow(limit/1024), minExtent), maxExtent)
	s.chunkBits = bits.TrailingZeros(uint(s.extent / lineSize))
	s.nshards = min(max(powerBelow(limit/s.extent/perShard), 1), maxShards)
	s.nlines = max(limit/bytesASlot/slotsPerLine/s.nshards, 16)
	s.nsketch = eviction.SketchWords(limit / bytesEntry / s.nshards)
	s.nghost = eviction.GhostWords(limit / bytesEntry / s.nshards)
	s.nloads = min(max(powerBelow(limit/bytesALoad/s.nshards), 2*loadSet), 512)
	s.ntags = min(max(powerBelow(limit/bytesATag), 128), 1<<16)
	s.livesAt = shardsAt + s.nshards*shardSize
	extents := limit / s.extent // at most
	s.rowsAt = s.livesAt + (extents*8+63)&^63
	s.linesAt = (s.rowsAt + extents*rowSize + 63) &^ 63
	s.sketAt = s.linesAt + s.nshards*s.nlines*lineSize
	s.ghostAt = s.sketAt + s.nshards*s.nsketch*8
	s.tagsAt = (s.ghostAt + s.nshards*s.nghost*4 + 63) &^ 63
	s.keysAt = (s.tagsAt + s.ntags*8 + 63) &^ 63
	s.loadsAt = s.keysAt + s.nshards*s.nloads*8
	if s.logAt = s.loadsAt + s.nshards*s.nloads*loadRowSize; limit >= 4*MinLimit {
		s.logAt = (s.logAt + 4095) &^ 4095 // so that an extent is whole pages
	}
	s.each = min((limit-s.logAt)/s.extent/s.nshards, maxExtentNumber/s.nshards)
	return s, nil
}

// powerBelow returns the greatest power of two that is not above n.
func powerBelow(n int) int { return 1 << (bits.Len(uint(max(n, 1))) - 1) }

// extents returns the number of all extents. They are numbered from 1; shard i has those from i*each+1 on.
func (s *shape) extents() int { return s.nshards * s.each }

// capacity returns how many bytes the logs of a shard may have that has so many extents for them. The rest is what two
// open extents may lack, what was walked of two others, and what does not fit an extent's end.
func (s *shape) capacity(extents int) int64 {
	return int64(extents-4)*int64(s.extent) - int64(s.extent)/8
}

// maxRecord returns the size of the largest record.
func (s *shape) maxRecord() int { return s.extent / 8 }

// maxKey returns the length of the longest key.
func (s *shape) maxKey() int { return s.extent / 16 }
