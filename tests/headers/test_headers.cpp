// SPDX-License-Identifier: MIT
// Its headers are what counts: CMakeLists.txt.
int main() {}
