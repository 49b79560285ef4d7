package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// MaxFileSize is the most that a policy file may hold, in bytes: some thousand policies.
	MaxFileSize = 4 << 20
	// MaxTotalSize is the most that all files may hold together, in bytes.
	MaxTotalSize = 16 << 20
	// MaxFiles is how many files there may be, counting those of directories.
	MaxFiles = 1000
)

// LoadFiles reads the policies of YAML files, which make one set: no two of them have the same name. A directory stands
// for its files *.yaml and *.yml in the order of their names, without hidden ones and without directories.
//
// The error is a *LoadError with all problems of all files. The warnings say what the engine ignores; they are there
// beside an error too.
func LoadFiles(paths ...string) (policies []Policy, warnings []Problem, err error) {
	var l loader
	files, size := 0, 0
	for _, path := range paths {
		names, err := expand(path)
		if err != nil {
			l.unreadable(path, err)
		}
		for _, name := range names {
			content, err := readFile(name)
			if err != nil {
				l.unreadable(name, err)
				continue
			}
			files++
			size += len(content)
			switch {
			case files > MaxFiles:
				l.unreadable(name, fmt.Errorf("too many files: expected at most %d", MaxFiles))
				return l.load()
			case size > MaxTotalSize:
				l.unreadable(name, fmt.Errorf("the files are too large together: expected at most %d bytes", MaxTotalSize))
				return l.load()
			}
			l.add(name, content)
		}
	}
	return l.load()
}

// expand returns the files that a path stands for: itself, or those of a directory.
func expand(path string) ([]string, error) {
	if path == "" {
		return nil, errors.New("the path is empty, expected a policy file or a directory")
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, nil // whoever opens it says what is wrong
	}
	entries, err := os.ReadDir(path) // by name
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		extension := filepath.Ext(entry.Name())
		if strings.HasPrefix(entry.Name(), ".") || extension != ".yaml" && extension != ".yml" {
			continue
		}
		file := filepath.Join(path, entry.Name())
		// Kubernetes mounts each file as a symbolic link into a hidden directory.
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			continue
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, errors.New("no policy file in the directory: expected *.yaml or *.yml")
	}
	return files, nil
}

// readFile reads a regular file. It does not open anything else, since opening a pipe can block for ever.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file, expected a policy file or a directory")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxFileSize+1))
	if err == nil && len(content) > MaxFileSize {
		return nil, fmt.Errorf("file is too large: expected at most %d bytes", MaxFileSize)
	}
	return content, err
}

// unreadable reports a file that could not be read.
func (l *loader) unreadable(path string, err error) {
	message := err.Error()
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		message = pathError.Err.Error()
	}
	l.files = append(l.files, &reader{file: path, problems: []Problem{{File: path, Message: message}}})
	l.causes = append(l.causes, err)
}
