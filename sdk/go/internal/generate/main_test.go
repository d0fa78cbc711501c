package main

import (
	"bytes"
	"os"
	"testing"
)

func TestTheBindingsAreThoseOfTheWitDirectory(t *testing.T) {
	is, err := os.ReadFile("../bindings/" + digestFile)
	if err != nil {
		t.Fatal(err)
	}
	want, err := digest("../../../../wit")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(is, want) {
		t.Error("wit/ has changed: run `go generate` in sdk/go, with wit-bindgen " + version + " on the path")
	}
}
