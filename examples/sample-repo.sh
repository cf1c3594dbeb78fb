#!/bin/sh
# Make a git repository of sample-repo-src in a folder of its own, and print where it is.
# The same files, author and date each time, so the same commit id on every machine.
set -eu
source=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)/sample-repo-src
target=${1:?usage: sample-repo.sh FOLDER}
rm -rf "$target"
mkdir -p "$target"
cp -R "$source/." "$target/"
cd "$target"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME="Sample" GIT_AUTHOR_EMAIL="sample@example.org" GIT_AUTHOR_DATE="2024-03-01T12:00:00+0000"
export GIT_COMMITTER_NAME="Sample" GIT_COMMITTER_EMAIL="sample@example.org" GIT_COMMITTER_DATE="2024-03-01T12:00:00+0000"
git init -q -b main
git add -A
git commit -q -m "Quotes, labels and tracking"
pwd
