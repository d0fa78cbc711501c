package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	handoff "github.com/handoff-tests/handoff/sdk/go"
)

// What it costs to meter a suite is measured with these.

func rounds(t *handoff.T) int {
	text, ok := t.LookupParam("rounds")
	if !ok {
		return 1
	}
	rounds, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return rounds
}

func numbers() []int {
	all := make([]int, 20_000)
	x := 1
	for i := range all {
		all[i] = x
		x = x * 16_807 % 2_147_483_647
	}
	return all
}

func shellSort(numbers []int) {
	for gap := len(numbers) / 2; gap > 0; gap /= 2 {
		for at := gap; at < len(numbers); at++ {
			number, to := numbers[at], at
			for ; to >= gap && numbers[to-gap] > number; to -= gap {
				numbers[to] = numbers[to-gap]
			}
			numbers[to] = number
		}
	}
}

func sorts(t *handoff.T) {
	for range rounds(t) {
		all := numbers()
		shellSort(all)
		if !slices.IsSorted(all) {
			t.Fatal("they are not in order")
		}
	}
}

type book struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Price float64  `json:"price"`
	Sold  bool     `json:"sold"`
	Tags  []string `json:"tags"`
}

func writesAndReadsJSON(t *handoff.T) {
	for range rounds(t) {
		var books, read []book
		for i := range 2_000 {
			books = append(books, book{i, fmt.Sprint("book ", i), float64(i) / 4, i%2 == 1, []string{"a", "b"}})
		}
		written, err := json.Marshal(books)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &read); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, book := range read {
			sum += book.ID
		}
		if sum != 1_999_000 {
			t.Fatalf("the sum is %d", sum)
		}
	}
}
