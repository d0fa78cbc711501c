// Package shop has a test for each way in which a test of Go's own harness can end.
package shop

import (
	"fmt"
	"os"
	"testing"
)

func TestPasses(t *testing.T) {
	t.Log("in stock")
	fmt.Println("printed")
}

func TestFails(t *testing.T) {
	t.Errorf("got %d, want %d", 2, 3)
	t.Fatal("and no more")
}

func TestSkips(t *testing.T) {
	t.Skip("no card")
}

func TestParts(t *testing.T) {
	t.Run("sells", func(t *testing.T) {})
	t.Run("pays", func(t *testing.T) { t.Error("declined") })
	t.Run("delivers", func(t *testing.T) { t.Skip("no address") })
}

func TestPanics(t *testing.T) {
	var stock map[string]int
	stock["a"] = 1
}

func TestExits(t *testing.T) {
	os.Exit(3)
}

func TestLeaves(t *testing.T) {
	os.Exit(0)
}

func TestComputesForEver(t *testing.T) {
	fmt.Println("begun")
	for {
	}
}

func TestTakesAllMemory(t *testing.T) {
	var all [][]byte
	for {
		all = append(all, make([]byte, 1<<20))
	}
}

func TestReadsTestdata(t *testing.T) {
	stock, err := os.ReadFile("testdata/stock.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(stock) != "3 apples\n" {
		t.Errorf("got %q", stock)
	}
	if err := os.WriteFile("testdata/stock.txt", nil, 0o644); err == nil {
		t.Error("it was changed")
	}
	if err := os.WriteFile(t.TempDir()+"/stock.txt", stock, 0o644); err != nil {
		t.Error(err)
	}
}

func BenchmarkNothing(b *testing.B) {}

func FuzzNothing(f *testing.F) {}

func Example_sums() {
	fmt.Println(1 + 1)
	// Output: 3
}
