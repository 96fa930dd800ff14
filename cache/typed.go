package cache

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// Codec turns values into bytes and back.
type Codec[V any] interface {
	Append(dst []byte, v V) ([]byte, error)
	Decode(b []byte, v *V) error // which does not keep b
}

// JSON returns the Codec of encoding/json.
func JSON[V any]() Codec[V] { return jsonCodec[V]{} }

type jsonCodec[V any] struct{}

func (jsonCodec[V]) Append(dst []byte, v V) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

func (jsonCodec[V]) Decode(b []byte, v *V) error { return json.Unmarshal(b, v) }

// Typed is a cache of values of a Go type, by keys of a Go type. The zero Typed is a closed one.
type Typed[K comparable, V any] struct {
	cache *Cache
	codec Codec[V]
}

// Of returns c as a cache of K and V. K is a string, a number, or an array or struct of numbers without gaps. The
// bytes of V are the codec's; without one V is a type that may lie in shared memory (see shm.Check), and is stored as
// it is, with a digest of its layout, so that a program with another V finds nothing. Keys of different Go types may
// be the same bytes: what else is in the cache is not told apart.
func Of[K comparable, V any](c *Cache, codec Codec[V]) (t Typed[K, V], err error) {
	if kt := reflect.TypeFor[K](); kt.Kind() != reflect.String {
		if err := shm.Check[K](); err != nil {
			return t, fmt.Errorf("cache: keys: %w", err)
		}
		if n := denseSize(kt); n != kt.Size() {
			return t, errkind.As(ErrMismatch, fmt.Errorf("cache: keys of %v: %d of its %d bytes are gaps: no two equal keys need have the same bytes",
				kt, kt.Size()-n, kt.Size()))
		}
	}
	if codec == nil {
		if err := shm.Check[V](); err != nil {
			return t, fmt.Errorf("cache: values: %w; or give a Codec", err)
		}
		codec = plain[V]{}
	}
	return Typed[K, V]{c, codec}, nil
}

// denseSize returns how many bytes of a type have a meaning, counting floating-point numbers as none: equal ones can
// differ.
func denseSize(t reflect.Type) (n uintptr) {
	switch t.Kind() {
	case reflect.Array:
		return uintptr(t.Len()) * denseSize(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			n += denseSize(f.Type)
		}
		return n
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return 0
	}
	return t.Size()
}

// plain is the codec of types without pointers: their bytes, and a digest of the layout.
type plain[V any] struct{}

func (plain[V]) Append(dst []byte, v V) ([]byte, error) {
	dst, err := bytesOf(dst, v)
	return binary.LittleEndian.AppendUint32(dst, uint32(shm.Layout[V]())), err
}

func (plain[V]) Decode(b []byte, v *V) error {
	n := shm.Size[V]()
	if len(b) != n+4 || binary.LittleEndian.Uint32(b[n:]) != uint32(shm.Layout[V]()) {
		return errkind.As(ErrMismatch, fmt.Errorf("cache: a value is no %v of this layout", reflect.TypeFor[V]()))
	}
	if n == 0 {
		return nil
	}
	words := shm.NewRegion(aligned(n))
	at, err := shm.At[V](words, 0)
	if err != nil {
		return err
	}
	raw, err := words.Bytes(0, n)
	if err != nil {
		return err
	}
	copy(raw, b)
	*v = *at
	return nil
}

// aligned returns n bytes where any type may begin: the runtime aligns large ones.
func aligned(n int) []byte { return make([]byte, max(n, 16))[:n:n] }

// bytesOf appends the bytes of a value of a type without pointers.
func bytesOf[T any](dst []byte, v T) ([]byte, error) {
	n := shm.Size[T]()
	if n == 0 {
		return dst, nil
	}
	b := aligned(n)
	at, err := shm.At[T](shm.NewRegion(b), 0)
	if err != nil {
		return dst, err
	}
	*at = v
	return append(dst, b...), nil
}

func (t Typed[K, V]) key(k K) ([]byte, error) {
	if s, ok := any(k).(string); ok {
		return []byte(s), nil
	}
	if v := reflect.ValueOf(k); v.Kind() == reflect.String {
		return []byte(v.String()), nil
	}
	return bytesOf(nil, k)
}

// with hands f the bytes of a key, if the cache can be used.
func (t Typed[K, V]) with(k K, f func(key []byte) error) error {
	if err := t.cache.errIfNotReady(); err != nil || t.codec == nil {
		return errEnded
	}
	key, err := t.key(k)
	if err != nil {
		return err
	}
	return f(key)
}

// Get returns the value of a key. One that was stored as another type is not found.
func (t Typed[K, V]) Get(k K) (v V, found bool, err error) {
	err = t.with(k, func(key []byte) error {
		b, is, err := t.cache.Get(key, nil)
		if err != nil || !is {
			return err
		}
		switch err := t.codec.Decode(b, &v); {
		case err == nil:
			found = true
		case !isMismatch(err):
			return err
		}
		return nil
	})
	return v, found, err
}

// Set stores a value as Cache.Set does.
func (t Typed[K, V]) Set(ctx context.Context, k K, v V, with ...With) error {
	return t.with(k, func(key []byte) error {
		b, err := t.codec.Append(nil, v)
		if err != nil {
			return err
		}
		return t.cache.Set(ctx, key, b, with...)
	})
}

// Delete removes a key as Cache.Delete does.
func (t Typed[K, V]) Delete(ctx context.Context, k K) (found bool, err error) {
	err = t.with(k, func(key []byte) error {
		found, err = t.cache.Delete(ctx, key)
		return err
	})
	return found, err
}

// Load gets a value, or loads it, as Cache.Load does. A value that was stored as another type is loaded anew.
func (t Typed[K, V]) Load(ctx context.Context, k K, f func(ctx context.Context) (V, error), with ...With) (v V, err error) {
	err = t.with(k, func(key []byte) error {
		load := func(ctx context.Context) ([]byte, error) {
			v, err := f(ctx)
			if err != nil {
				return nil, err
			}
			return t.codec.Append(nil, v)
		}
		if f == nil {
			load = nil
		}
		for range 2 {
			b, err := t.cache.Load(ctx, key, nil, load, with...)
			if err != nil {
				return err
			}
			if err = t.codec.Decode(b, &v); err == nil || !isMismatch(err) {
				return err
			}
			if _, err := t.cache.Delete(ctx, key); err != nil {
				return err
			}
		}
		return errkind.As(ErrMismatch, fmt.Errorf("cache: the value of a key is set as another type again and again"))
	})
	return v, err
}

func isMismatch(err error) bool { return errors.Is(err, ErrMismatch) }
