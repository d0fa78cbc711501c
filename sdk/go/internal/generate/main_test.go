package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestTheBindingsAreThoseOfTheWitDirectory(t *testing.T) {
	const bindings = "../bindings"
	is, err := os.ReadFile(filepath.Join(bindings, digestFile))
	if err != nil {
		t.Fatal(err)
	}
	made := map[string][]byte{}
	err = filepath.WalkDir(bindings, func(path string, entry fs.DirEntry, err error) error {
		byHand := entry.Name() == "export_handoff_suite_tests" || entry.Name() == digestFile
		if err != nil || byHand && !entry.IsDir() {
			return err
		}
		if byHand {
			return fs.SkipDir
		}
		if entry.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		path, err = filepath.Rel(bindings, path)
		made[filepath.ToSlash(path)] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := digest("../../../../wit", made)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(is, want) {
		t.Error("wit/ or the bindings have changed: run `go generate` in sdk/go, with wit-bindgen " + version + " on the path")
	}
}
