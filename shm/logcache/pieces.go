package logcache

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/godsm/godsm/internal/sys/fault"
)

// A value that is too long for one record is cut into pieces: ordinary entries, spread over the shards, whose keys are a
// number that is drawn for this value and the place of the piece. The key's own entry is a head that names the number
// and the length. A piece never changes, so a reader that finds all pieces of a head has the value. A head without all
// its pieces, one of which was evicted, is a miss; pieces without a head are hit by no one, and are evicted soon.
type pieces struct {
	number uint64
	length uint64
}

const (
	headSize = 16
	pieceKey = 16
)

// pieceSize returns how many bytes of the value a piece has, but for the last one.
func (c *Cache) pieceSize() int { return c.maxRecord() - recordHeader - pieceKey }

func (p pieces) head() []byte {
	b := binary.LittleEndian.AppendUint64(nil, p.number)
	return binary.LittleEndian.AppendUint64(b, p.length)
}

// parseHead reads what a head says.
func parseHead(b []byte, most int) (p pieces, ok bool) {
	if len(b) != headSize {
		return p, false
	}
	p = pieces{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
	return p, p.number != 0 && p.length <= uint64(most)
}

// count returns how many pieces there are.
func (p pieces) count(size int) int { return (int(p.length) + size - 1) / size }

func (p pieces) key(i int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, p.number)
	return binary.LittleEndian.AppendUint64(b, uint64(i))
}

// setPieces sets a value that is too long for one record: its pieces first, then the head. If it fails, the pieces
// that are there already go.
func (c *Cache) setPieces(ctx context.Context, h hash, r *record, when Condition) (done bool, err error) {
	defer fault.Return(&err, fault.Catch())
	p, size := pieces{rand.Uint64() | 1, uint64(len(r.value))}, c.pieceSize()
	// A value that fills much of the window would push its own first pieces out of it.
	where := automatic
	if len(r.value)*400 > c.limit*c.windowShare() {
		where = toMain
	}
	for i := range p.count(size) {
		key := p.key(i)
		piece := record{kind: kindPiece, expires: r.expires, key: key, value: r.value[i*size : min((i+1)*size, len(r.value))]}
		if _, _, err := c.put(ctx, hashOf(kindPiece, key, c.seed), &piece, where, Condition{}); err != nil {
			c.dropPieces(context.WithoutCancel(ctx), p)
			return false, err
		}
	}
	head := *r
	head.kind, head.value = kindHead, p.head()
	old, done, err := c.put(ctx, h, &head, automatic, when)
	if err != nil || !done {
		c.dropPieces(context.WithoutCancel(ctx), p)
		return false, err
	}
	if old != (pieces{}) {
		c.dropPieces(ctx, old)
	}
	return true, nil
}

// dropPieces deletes the pieces of a value that is not there any more. Those whose shards it cannot lock are left to be
// evicted.
func (c *Cache) dropPieces(ctx context.Context, p pieces) {
	for i := range p.count(c.pieceSize()) {
		key := p.key(i)
		if _, _, err := c.remove(ctx, hashOf(kindPiece, key, c.seed), kindPiece, key); err != nil {
			return
		}
	}
}

// gather appends the value that is in pieces to dst.
func (c *Cache) gather(p pieces, dst []byte, quiet bool) (out []byte, found bool, err error) {
	size, begin := c.pieceSize(), len(dst)
	out = slices.Grow(dst, int(p.length))
	for i := range p.count(size) {
		key, from := p.key(i), len(out)
		q := query{kind: kindPiece, quiet: quiet}
		if out, found, err = c.lookUp(hashOf(kindPiece, key, c.seed), &q, key, out); !found {
			return out[:begin], false, err
		}
		if want := min(size, int(p.length)-i*size); len(out)-from != want {
			return out[:begin], false, nil
		}
	}
	return out, true, nil
}
