from inbol_ray.training.checkpoint import INDEX, discard_torn_index


def test_an_index_that_a_crash_cut_off_is_removed_and_a_whole_one_kept(tmp_path):
    discard_torn_index(f"{tmp_path}/not started")
    index = tmp_path / INDEX
    index.write_text('{"checkpoint_results": []}')
    discard_torn_index(str(tmp_path))
    assert index.exists()
    index.write_text('{"checkpoint_results": [{"checkpoi')
    discard_torn_index(str(tmp_path))
    assert not index.exists()
