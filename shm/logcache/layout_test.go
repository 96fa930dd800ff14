package logcache

import (
	"reflect"
	"testing"
)

// TestSizes compares the constants with the types.
func TestSizes(t *testing.T) {
	for name, x := range map[string][2]int{
		"header": {int(reflect.TypeFor[header]().Size()), shardsAt},
		"shard":  {int(reflect.TypeFor[shard]().Size()), shardSize},
		"row":    {int(reflect.TypeFor[row]().Size()), rowSize},
		"line":   {int(reflect.TypeFor[line]().Size()), lineSize},
	} {
		if x[0] != x[1] {
			t.Errorf("%s has %d bytes, not %d", name, x[0], x[1])
		}
	}
}
