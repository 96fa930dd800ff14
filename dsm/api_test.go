package dsm_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestAPI: the exported face changes on purpose only.
func TestAPI(t *testing.T) {
	want, err := os.ReadFile("testdata/api.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, err := exec.Command("go", "doc", "-all", ".").Output()
	if err != nil {
		t.Skipf("skipped: no go command to ask: %v", err)
	}
	if string(got) != string(want) {
		t.Error("it differs from testdata/api.txt; if that is meant: go doc -all ./dsm > dsm/testdata/api.txt")
	}
}
