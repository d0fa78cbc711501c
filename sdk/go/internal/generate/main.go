// Command generate makes the bindings in internal/bindings from the repository's wit directory, with
// `wit-bindgen go` on the path. With -check it only tells whether they are current.
package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"go/format"
	"io/fs"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// version is the one of wit-bindgen whose output is committed.
	version = "0.63.0"
	module  = "github.com/handoff-tests/handoff/sdk/go/internal/"
)

//go:embed guest.wit
var world []byte

func main() {
	log.SetFlags(0)
	sdk := flag.String("sdk", ".", "the directory of the SDK")
	check := flag.Bool("check", false, "only tell whether the bindings are current")
	flag.Parse()
	if err := run(*sdk, *check); err != nil {
		log.Fatal("the bindings: ", err)
	}
}

func run(sdk string, check bool) error {
	work, err := os.MkdirTemp("", "handoff-wit")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made, err := generate(filepath.Join(sdk, "..", "..", "wit"), work)
	if err != nil {
		return err
	}
	to := filepath.Join(sdk, "internal", "bindings")
	if check {
		return compare(made, to)
	}
	if err := os.RemoveAll(filepath.Join(to, "imports")); err != nil {
		return err
	}
	for path, content := range made {
		path = filepath.Join(to, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// generate gives the files of the bindings by their paths.
func generate(wit, work string) (map[string][]byte, error) {
	found, err := exec.Command("wit-bindgen", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("wit-bindgen %s cannot be run: %w", version, err)
	}
	if !strings.Contains(string(found), version) {
		return nil, fmt.Errorf("wit-bindgen must be %s and is %s", version, bytes.TrimSpace(found))
	}
	if err := os.CopyFS(filepath.Join(work, "wit", "deps"), os.DirFS(filepath.Join(wit, "deps"))); err != nil {
		return nil, err
	}
	suite := filepath.Join(work, "wit", "deps", "handoff-suite")
	if err := os.Mkdir(suite, 0o777); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(wit, "*.wit"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(suite, filepath.Base(file)), content, 0o666); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(work, "wit", "guest.wit"), world, 0o666); err != nil {
		return nil, err
	}
	out := filepath.Join(work, "out")
	command := exec.Command("wit-bindgen", "go", filepath.Join(work, "wit"), "--world", "guest",
		"--out-dir", out, "--pkg-name", module+"bindings")
	if said, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("wit-bindgen: %w\n%s", err, said)
	}
	made, err := read(out)
	if err != nil {
		return nil, err
	}
	made[digestFile], err = digest(wit, made)
	return made, err
}

// digestFile tells of which wit directory and generator the bindings are, and what they are, so that a
// test can tell without wit-bindgen whether they are current.
const digestFile = "bindings.sha256"

func digest(wit string, made map[string][]byte) ([]byte, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "wit-bindgen %s\n%s", version, world)
	err := filepath.WalkDir(wit, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path == filepath.Join(wit, "plugin") {
				return fs.SkipDir // A suite is made of nothing in it.
			}
			return nil
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(hash, "%s %d\n%s", entry.Name(), len(content), content)
		return err
	})
	for _, path := range slices.Sorted(maps.Keys(made)) {
		fmt.Fprintf(hash, "%s %d\n%s", path, len(made[path]), made[path])
	}
	return fmt.Appendf(nil, "%x\n", hash.Sum(nil)), err
}

// read gives what wit-bindgen made, on our own package in place of its own: with that one, every suite
// would have to be linked with -checklinkname=0.
func read(out string) (map[string][]byte, error) {
	made := map[string][]byte{}
	err := filepath.WalkDir(out, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		content = bytes.ReplaceAll(content, []byte(`"go.bytecodealliance.org/pkg/wit/runtime"`), []byte(`"`+module+`abi"`))
		content = bytes.ReplaceAll(content, []byte(`"go.bytecodealliance.org/pkg/wit/types"`), []byte(`"`+module+`abi"`))
		if bytes.Contains(content, []byte("go.bytecodealliance.org/pkg")) {
			return fmt.Errorf("%s needs more of wit-bindgen's own package than internal/abi has", path)
		}
		if strings.HasSuffix(path, ".go") {
			if content, err = format.Source(content); err != nil {
				return err
			}
		}
		path, err = filepath.Rel(out, path)
		made[filepath.ToSlash(path)] = content
		return err
	})
	return made, err
}

func compare(made map[string][]byte, to string) error {
	for path, content := range made {
		if is, err := os.ReadFile(filepath.Join(to, path)); err != nil || !bytes.Equal(is, content) {
			return errors.New("they are not what wit/ makes: run `go generate` in sdk/go")
		}
	}
	return nil
}
