package failpoint

import "testing"

func TestPoints(t *testing.T) {
	points, err := Points("../..")
	if err != nil || len(points) < 50 {
		t.Errorf("%d points, %v", len(points), err)
	}
}
