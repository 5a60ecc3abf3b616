# The Debian packages that Sedum is built of, and how they are installed. Sourced by quickstart.sh and test.sh.

BUILD_PACKAGES="g++ cmake ninja-build ccache pkg-config libcli11-dev libfmt-dev libspdlog-dev nlohmann-json3-dev libsimdjson-dev
  libyaml-cpp-dev libboost-dev libpcre2-dev libsqlite3-dev libcurl4-openssl-dev libssl-dev zlib1g-dev
  libpango1.0-dev fonts-dejavu-core fonts-wqy-microhei
  libcmark-gfm-dev libcmark-gfm-extensions-dev libarchive-dev git python3 python3-pip ca-certificates"
TEST_PACKAGES="libgtest-dev libgmock-dev clang-format clang-tidy curl
  chromium nginx"

# install_packages PACKAGE...: what is missing, by apt-get, with sudo when this is not root.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "installing ${missing[*]}"
  local sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "error: not root and no sudo: install these packages first: ${missing[*]}" >&2; return 1; }
    sudo=sudo
  fi
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
